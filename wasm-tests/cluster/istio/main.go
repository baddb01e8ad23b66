// Command istio is istiod and its agent in one, by the name that it is called by. It is linked once.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	// As in Istio's own programs: the memory limit of the container is Go's limit.
	_ "github.com/KimMachineGun/automemlimit"
	"github.com/spf13/cobra"
	meshconfig "istio.io/api/mesh/v1alpha1"
	agent "istio.io/istio/pilot/cmd/pilot-agent/app"
	discovery "istio.io/istio/pilot/cmd/pilot-discovery/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

func main() {
	log.EnableKlogWithCobra()
	programs := map[string]func() *cobra.Command{
		"pilot-agent":     func() *cobra.Command { return agent.NewRootCommand(newSDSServer) },
		"pilot-discovery": discovery.NewRootCommand,
	}
	name := filepath.Base(os.Args[0])
	program, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "error: unknown program `%s`: call this by the name of a program of Istio\n", name)
		os.Exit(2)
	}
	if err := program().Execute(); err != nil {
		log.Error(err)
		os.Exit(255)
	}
}

func newSDSServer(options *security.Options, secrets security.SecretManager, provider *meshconfig.PrivateKeyProvider) istioagent.SDSService {
	return sds.NewServer(options, secrets, provider)
}
