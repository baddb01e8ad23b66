//go:build tools

// Package kubernetes pins the kube-apiserver and the CRDs that the tests run with.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
