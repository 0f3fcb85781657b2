package programs

import (
	"os"
	"path/filepath"
)

// Client is a program built from the Go module proxy.
type Client struct {
	Name, Package, Version string
	// Together says that it is built in one module with the others that say so: where they want different versions of a library, all get the newest of these.
	Together bool
}

// Clients are ordered by how long they take to build, the quick ones first: whoever waits for them can begin with those. The last three have most of their
// code in common, Kubernetes' client before all, in versions that differ little: each by itself would be minutes of the same.
var Clients = []Client{
	{"crane", "github.com/google/go-containerregistry/cmd/crane", "v0.22.1", false},
	{"regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7", false},
	{"oras", "oras.land/oras/cmd/oras", "v1.3.6", false},
	{"conformance", "github.com/opencontainers/distribution-spec/conformance", "v0.0.0-20260831232431-97274622c111", false},
	{"helm3", "helm.sh/helm/v3/cmd/helm", "v3.22.0", true},
	{"helm4", "helm.sh/helm/v4/cmd/helm", "v4.3.1", true},
	{"cosign", "github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3", true},
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
