//go:build e2e

// Package e2e tests the chart on a real cluster as its users work with it: with make, helm and kubectl. It makes a kind
// cluster of its own, in which each test has a namespace that accepts only pods without rights.
package e2e

import (
	"cmp"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const chart = "charts/consent-pipeline"

// The cluster is the tests' own; another name lets two checkouts test at once.
var (
	cluster = cmp.Or(os.Getenv("CONSENT_E2E_CLUSTER"), "consent-e2e")
	node    = cluster + "-control-plane"
)

// root is the folder of the project, in which all commands run.
var root string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if root, err = filepath.Abs("../.."); err != nil {
		return 0, err
	}
	// The user's own kubectl keeps pointing where it does.
	folder, err := os.MkdirTemp("", "consent-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	if err := os.Setenv("KUBECONFIG", filepath.Join(folder, "kubeconfig")); err != nil {
		return 0, err
	}
	// What `make e2e` was given is not meant for the makes that the tests run.
	for _, name := range []string{
		"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS", "KEEP", "DATABASE_URL", "CONSENT_DATABASE_URL",
		"CLUSTER", "NAMESPACE", "RELEASE", "KUBE_CONTEXT", "IMAGE", "DBT_IMAGE", "TAG",
	} {
		if err := os.Unsetenv(name); err != nil {
			return 0, err
		}
	}
	if os.Getenv("CONSENT_E2E_KEEP") == "" {
		if err := program("kind", "delete", "cluster", "--name", cluster); err != nil {
			return 0, err
		}
		defer func() {
			if deleteErr := program("kind", "delete", "cluster", "--name", cluster); err == nil {
				err = deleteErr
			}
		}()
	}
	if err := program("make", "kind-up", "CLUSTER="+cluster); err != nil {
		return 0, err
	}
	// The image that releases are upgraded to.
	if err := program("make", "kind-load", "CLUSTER="+cluster, "TAG=next"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// program runs a command whose output everybody sees.
func program(name string, arguments ...string) error {
	command := exec.Command(name, arguments...)
	command.Dir, command.Stdout, command.Stderr = root, os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %q: %w", name, arguments, err)
	}
	return nil
}
