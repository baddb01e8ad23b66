//go:build tools

// Package istio pins the Istio whose CRDs the tests install.
package istio

import _ "istio.io/istio/manifests"
