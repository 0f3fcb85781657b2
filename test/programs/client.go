package programs

import (
	"os"
	"path/filepath"
)

// Client is a program built from the Go module proxy.
type Client struct {
	Name, Package, Version string
}

// Clients are ordered by how long they take to build, the quick ones first: whoever waits for them can begin with those.
var Clients = []Client{
	{"crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1"},
	{"regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7"},
	{"oras", "oras.land/oras/cmd/oras", "v1.3.6"},
	{"conformance", "github.com/opencontainers/distribution-spec/conformance", "v0.0.0-20260831232431-97274622c111"},
	{"helm3", "helm.sh/helm/v3/cmd/helm", "v3.22.0"},
	{"helm4", "helm.sh/helm/v4/cmd/helm", "v4.3.1"},
	{"cosign", "github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"},
}

// Cache is the folder of everything that is kept between runs of the tests.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "havn-test"), nil
}

// Path is where the client is once it is built. Its version is part of the name, so that another version is another file.
func (c Client) Path() (string, error) {
	dir, err := Cache()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "bin", c.Name+"-"+c.Version), nil
}

// ClientNamed finds a client.
func ClientNamed(name string) (Client, bool) {
	for _, c := range Clients {
		if c.Name == name {
			return c, true
		}
	}
	return Client{}, false
}
