//go:build tools

// Package istio pins the Istio whose control plane and CRDs the tests run on.
package istio

import (
	_ "istio.io/istio/manifests"
	_ "istio.io/istio/pilot/cmd/pilot-agent"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
)
