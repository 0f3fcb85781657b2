package stores

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/havn-registry/havn/internal/blob/azure"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/programs"
)

const (
	azureAccount   = "havnstore"
	azureContainer = "registry"
)

// azureKey is the account's.
var azureKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 64))

// emulator is Azurite, running.
type emulator struct {
	*harness.Process
	owner testing.TB
	dir   string
	port  string
	more  []string
	// endpoint is the account's address.
	endpoint *url.URL
}

// startAzurite starts an Azurite of the test's own.
func startAzurite(t *testing.T, more ...string) *emulator {
	t.Helper()
	e := &emulator{owner: t, dir: t.TempDir(), port: "0", more: more}
	e.again(t)
	return e
}

var listensOn = regexp.MustCompile(`successfully listens on (https?)://127\.0\.0\.1:(\d+)`)

// again starts an Azurite that was stopped, in the same folder and on the same port. It keeps what it knows in memory and writes it down every few seconds and at its end, so
// what it acknowledged it has only after a stop, not after a kill.
func (e *emulator) again(t *testing.T) {
	t.Helper()
	script, err := programs.Azurite()
	need(t, err)
	e.Process = harness.Launch(e.owner, harness.Spawn{
		Name: "azurite", Dir: e.dir, Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir, "AZURITE_ACCOUNTS=" + azureAccount + ":" + azureKey},
		Argv: append([]string{"node", script, "--blobPort", e.port, "--location", e.dir, "--silent", "--disableTelemetry", "--skipApiVersionCheck"}, e.more...),
	})
	e.Await(t, func() error {
		m := listensOn.FindStringSubmatch(e.Log())
		if m == nil {
			return fmt.Errorf("it does not say where it listens")
		}
		e.port = m[2]
		e.endpoint = &url.URL{Scheme: m[1], Host: "127.0.0.1:" + m[2], Path: "/" + azureAccount}
		return nil
	})
}

// client answers the SDK's client of the container, for what Havn itself does not do.
func (e *emulator) client(t *testing.T) *container.Client {
	t.Helper()
	key, err := container.NewSharedKeyCredential(azureAccount, azureKey)
	need(t, err)
	c, err := container.NewClientWithSharedKeyCredential(e.endpoint.JoinPath(azureContainer).String(), key, nil)
	need(t, err)
	return c
}

// sas answers a signature for the whole account with such permissions, which ends after a while.
func (e *emulator) sas(t *testing.T, permissions sas.AccountPermissions, life time.Duration) string {
	t.Helper()
	key, err := container.NewSharedKeyCredential(azureAccount, azureKey)
	need(t, err)
	types := sas.AccountResourceTypes{Service: true, Container: true, Object: true}
	q, err := sas.AccountSignatureValues{
		Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().UTC().Add(life), Permissions: permissions.String(), ResourceTypes: types.String(),
	}.SignWithSharedKey(key)
	need(t, err)
	return q.Encode()
}

// all are the permissions that Havn needs.
var all = sas.AccountPermissions{Read: true, Write: true, Create: true, Delete: true, List: true}

var azurePrefixes atomic.Int64

// config is a driver's on a prefix of its own, with blocks so small that there are many.
func (e *emulator) config(t *testing.T) azure.Config {
	t.Helper()
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: time.Minute})
	need(t, err)
	pool, err := parts.NewPool(16<<20, t.TempDir(), 16)
	need(t, err)
	return azure.Config{
		Account: azureAccount, Endpoint: e.endpoint, Container: azureContainer, Create: true, Prefix: fmt.Sprintf("suite/%d", azurePrefixes.Add(1)), Key: azureKey,
		BlockBytes: 1 << 20, Pool: pool, HTTP: client, Clock: time.Now, CAKey: "storage.azure.ca_file",
	}
}

// env is a server's configuration on a prefix of its own.
func (e *emulator) env(more ...string) []string {
	return append([]string{
		"HAVN_STORAGE_DRIVER=azure", "HAVN_STORAGE_AZURE_ACCOUNT=" + azureAccount, "HAVN_STORAGE_AZURE_ENDPOINT=" + e.endpoint.String(), "HAVN_STORAGE_AZURE_KEY=" + azureKey,
		"HAVN_STORAGE_AZURE_CONTAINER=" + azureContainer, fmt.Sprintf("HAVN_STORAGE_PREFIX=served/%d", azurePrefixes.Add(1)),
	}, more...)
}

// uncommitted answers how many objects with a prefix there are only in blocks that were not committed.
func (e *emulator) uncommitted(t *testing.T, prefix string) int {
	t.Helper()
	n := 0
	c := e.client(t)
	pages := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Include: container.ListBlobsInclude{UncommittedBlobs: true}})
	for pages.More() {
		page, err := pages.NextPage(t.Context())
		need(t, err)
		for _, item := range page.Segment.BlobItems {
			if _, err = c.NewBlobClient(*item.Name).GetProperties(t.Context(), nil); err != nil {
				n++
			}
		}
	}
	return n
}

// blocks answers how many blocks of an object are there and not committed.
func (e *emulator) blocks(t *testing.T, name string) int {
	t.Helper()
	out, err := e.client(t).NewBlockBlobClient(name).GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil)
	if err != nil { // none at all
		return 0
	}
	return len(out.UncommittedBlocks)
}
