//go:build tools

// Package act pins the program that runs GitHub's workflows locally.
package act

import _ "github.com/nektos/act"
