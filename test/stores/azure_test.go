package stores

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/azure"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/fail"
)

// inAzure remembers where a driver keeps its objects.
type inAzure struct {
	blob.Driver
	config azure.Config
}

func openAzure(t *testing.T, c azure.Config) inAzure {
	t.Helper()
	d, err := azure.New(t.Context(), c)
	need(t, err)
	return inAzure{d, c}
}

func TestAzurePassesTheSuite(t *testing.T) {
	e := startAzurite(t)
	for name, change := range map[string]func(*azure.Config){
		"ByKey": func(*azure.Config) {},
		"BySAS": func(c *azure.Config) { c.Key, c.SAS = "", e.sas(t, all, time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				config := e.config(t)
				change(&config)
				return openAzure(t, config)
			}, func(t *testing.T, d blob.Driver) blob.Driver {
				before, ok := d.(inAzure)
				if !ok {
					t.Fatalf("driver %T", d)
				}
				return openAzure(t, before.config)
			})
		})
	}
}

// TestAzureListsOnBehindAnyName lists behind names that are there and others, in folders and between them: Azure itself can't.
func TestAzureListsOnBehindAnyName(t *testing.T) {
	e := startAzurite(t)
	d := openAzure(t, e.config(t))
	names := []string{
		"a", "a-b", "a.b/c", "a/b", "a/b-c", "a/b/c", "a/b/d", "a/c/d/e", "a0", "b/c", "objects/0a/0a1", "objects/0a/0a2", "objects/0b/0b1", "objects/0b-x", "objects/ff/ff1", "objects0", "zz",
	}
	for _, name := range names {
		if _, err := d.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	behind := append([]string{"", "0", "a/", "a/b/", "a/b/c/d", "a/zz", "objects/", "objects/0a/", "objects/0a/0a1x", "objects/0c/0c1", "zz/z", "~"}, names...)
	for _, after := range behind {
		var want, got []string
		for _, name := range names {
			if name > after {
				want = append(want, name)
			}
		}
		for info, err := range d.List(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != 1 || info.ModTime.IsZero() {
				t.Errorf("%+v", info)
			}
			got = append(got, info.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("behind %q: %v, want %v", after, got, want)
		}
	}
}

func TestAWriteToAzureThatBreaksOffLeavesNoBlocks(t *testing.T) {
	e := startAzurite(t)
	d := openAzure(t, e.config(t))
	name := blobtest.Store(d).NewName()
	cause := errors.New("cable cut")
	const blocks = 3
	staged := &once{do: func() { // a block whose sending is broken off may arrive after all: wait for all of them
		for deadline := time.Now().Add(patience); e.blocks(t, d.config.Prefix+"/"+name) < blocks && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			continue
		}
	}}
	in := io.MultiReader(bytes.NewReader(blobtest.Noise(1, blocks<<20)), staged, brokenReader{cause})
	if _, err := d.Put(t.Context(), name, -1, in); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if n := e.uncommitted(t, d.config.Prefix); n != 0 {
		t.Errorf("%d objects have blocks that nobody will commit", n)
	}
	if _, err := d.Stat(t.Context(), name); !fail.Is(err, fail.NotFound) {
		t.Errorf("%v", err)
	}
	// The name is as free as before.
	if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(blobtest.Noise(2, 3<<20))); err != nil {
		t.Error(err)
	}
}

func TestASignedAzureURLReadsOneObjectForAWhile(t *testing.T) {
	e := startAzurite(t)
	conf := e.config(t)
	conf.Sign = true
	d := openAzure(t, conf)
	signer, ok := d.Driver.(blob.Signer)
	if !ok {
		t.Fatal("the driver signs no URLs")
	}
	names := map[string][]byte{blobtest.Store(d).NewName(): blobtest.Noise(3, 3<<20), blobtest.Store(d).NewName(): []byte("another")}
	var signed []string
	for name, data := range names {
		if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		at, err := signer.SignGet(t.Context(), name, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := fetch(t, at, ""); status != http.StatusOK || body != string(data) {
			t.Errorf("%d, %d bytes", status, len(body))
		}
		if len(data) > 200 {
			readsSigned(t, at, data)
		}
		signed = append(signed, at)
	}
	if status, body := fetch(t, signed[0][:strings.Index(signed[0], "?")]+signed[1][strings.Index(signed[1], "?"):], ""); status != http.StatusForbidden {
		t.Errorf("another object by the same signature: %d %q", status, body)
	}
	past, err := signer.SignGet(t.Context(), "name", -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := fetch(t, past, ""); status != http.StatusForbidden {
		t.Errorf("a URL whose time is over: %d %q", status, body)
	}
	if _, unasked := openAzure(t, e.config(t)).Driver.(blob.Signer); unasked {
		t.Error("a driver that was not asked to sign says that it signs")
	}
}

func TestWhatIsWrongWithAContainerOfAzureIsSaid(t *testing.T) {
	e := startAzurite(t)
	openAzure(t, e.config(t)) // which makes the container
	for name, bad := range map[string]struct {
		change func(*azure.Config)
		kind   fail.Kind
		text   string
		hint   string
	}{
		"wrong key":        {func(c *azure.Config) { c.Key = "d3Jvbmc=" }, fail.Unavailable, "list the container", "storage.azure.key"},
		"no key":           {func(c *azure.Config) { c.Key = "%" }, fail.Invalid, "base64", "storage.azure.key"},
		"other account":    {func(c *azure.Config) { c.Account = "other" }, fail.Unavailable, "list the container", "storage.azure.account"},
		"absent container": {func(c *azure.Config) { c.Container, c.Create = "absent", false }, fail.NotFound, "it is not there", "--name absent"},
		"a SAS that may only read": {func(c *azure.Config) {
			c.Key, c.SAS = "", e.sas(t, sas.AccountPermissions{Read: true, List: true}, time.Hour)
		}, fail.Unavailable, "write an object", "sp=rcwdl"},
		"a SAS that is over": {func(c *azure.Config) {
			c.Key, c.SAS, c.SASEnd = "", e.sas(t, all, -time.Minute), time.Now().Add(-time.Minute)
		}, fail.Unavailable, "list the container", "is over since 20"},
		"no such path": {func(c *azure.Config) { c.Endpoint = c.Endpoint.JoinPath("..", "nobody") }, fail.Unavailable, "list the container", "storage.azure"},
		"no TLS there": {func(c *azure.Config) { u := *c.Endpoint; u.Scheme = "https"; c.Endpoint = &u }, fail.Unavailable, "", "http://"},
	} {
		t.Run(name, func(t *testing.T) {
			c := e.config(t)
			bad.change(&c)
			began := time.Now()
			_, err := azure.New(t.Context(), c)
			if !fail.Is(err, bad.kind) || !strings.Contains(err.Error(), bad.text) || !strings.Contains(fail.HintOf(err), bad.hint) {
				t.Errorf("%v (%v)\nhint: %s", err, fail.KindOf(err), fail.HintOf(err))
			}
			t.Logf("%s after %s; hint: %s", err, time.Since(began).Round(time.Millisecond), fail.HintOf(err))
			for _, secret := range []string{"sig=", azureKey} {
				if strings.Contains(err.Error()+fail.HintOf(err), secret) {
					t.Errorf("a secret is repeated: %v", err)
				}
			}
		})
	}
}
