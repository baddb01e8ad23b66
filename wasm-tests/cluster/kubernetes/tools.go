//go:build tools

// This file pins the module whose CRDs the tests install.
package main

import _ "sigs.k8s.io/gateway-api/apis/v1"
