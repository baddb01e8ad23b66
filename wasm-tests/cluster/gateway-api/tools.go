//go:build tools

// Package gatewayapi pins the oldest Gateway API whose CRDs the tests install: the first that
// Linkerd's compatibility table names with HTTPRoute at v1.
package gatewayapi

import _ "sigs.k8s.io/gateway-api/pkg/consts"
