//go:build tools

// Package kubescore pins the linter of the manifests in deploy/.
package kubescore

import _ "github.com/zegl/kube-score/cmd/kube-score"
