//go:build tools

// This file pins the module whose CRDs the tests install, and Helm 3, whose program no other can contain.
package main

import (
	_ "helm.sh/helm/v3/cmd/helm"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
