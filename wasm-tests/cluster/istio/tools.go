//go:build tools

// This file pins the charts and CRDs of Istio.
package main

import _ "istio.io/istio/manifests"
