package azure_test

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/azure"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

func TestTheSuiteOnAFake(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Driver {
		f := newFake(t)
		return f.open(t, f.config(t))
	}, nil)
}

// cut answers a fault that ends the first connection on which such a request was served, before its answer.
func cut(is func(r *http.Request) bool) func(http.ResponseWriter, *http.Request, bool) bool {
	done := false
	return func(_ http.ResponseWriter, r *http.Request, after bool) bool {
		if !after || done || !is(r) {
			return false
		}
		done = true
		panic(http.ErrAbortHandler)
	}
}

func isBlock(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Get("comp") == "block"
}

func isCommit(r *http.Request) bool { return r.URL.Query().Get("comp") == "blocklist" }

func isWhole(r *http.Request) bool { return r.Method == http.MethodPut && !r.URL.Query().Has("comp") }

func TestAnAnswerThatIsLostCostsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		size int
		is   func(*http.Request) bool
	}{
		{"of an object", 1000, isWhole},
		{"of a block", 250 << 10, isBlock},
		{"of a commit", 250 << 10, isCommit},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			f.setFault(cut(c.is))
			want := blobtest.Noise(1, c.size)
			w, err := d.Put(t.Context(), "name", int64(c.size), bytes.NewReader(want))
			if err != nil || w.Size != int64(c.size) || !bytes.Equal(f.objects["some/where/name"].data, want) {
				t.Errorf("%+v, %v", w, err)
			}
		})
	}
}

// TestBlocksThatSomebodyDroppedAreAnError commits somebody else's object, or none, in between.
func TestBlocksThatSomebodyDroppedAreAnError(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]fail.Kind{"other": fail.Exists, "none": fail.Unavailable} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			f.setFault(func(_ http.ResponseWriter, r *http.Request, after bool) bool {
				if !after && isCommit(r) {
					delete(f.staged, "some/where/name")
					if kind == fail.Exists {
						f.objects["some/where/name"] = stored{[]byte("other"), "other's"}
					}
				}
				return false
			})
			_, err := d.Put(t.Context(), "name", -1, bytes.NewReader(make([]byte, 300<<10)))
			if !fail.Is(err, kind) {
				t.Errorf("%v (%v), want %v", err, fail.KindOf(err), kind)
			}
			if o, there := f.objects["some/where/name"]; there != (kind == fail.Exists) || there && string(o.data) != "other" {
				t.Errorf("left is %q", o.data)
			}
		})
	}
}

func TestAStoreThatDoesNotKeepUpIsAskedAgainAndOneThatRefusesIsNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status, times int
		code          string
		kind          fail.Kind // 0: it works in the end
		asked         int
	}{
		{http.StatusServiceUnavailable, 3, "ServerBusy", 0, 4},
		{http.StatusInternalServerError, 1, "OperationTimedOut", 0, 2},
		{http.StatusForbidden, 99, "AuthorizationPermissionMismatch", fail.Unavailable, 1},
		{http.StatusInsufficientStorage, 99, "InsufficientStorage", fail.Exhausted, 1},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			d := f.open(t, f.config(t))
			left, asked := c.times, 0
			f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
				if after || !isWhole(r) {
					return false
				}
				asked++
				if left == 0 {
					return false
				}
				left--
				refuse(w, c.status, c.code)
				return true
			})
			_, err := d.Put(t.Context(), "name", 5, strings.NewReader("bytes"))
			if (err == nil) != (c.kind == 0) || err != nil && fail.KindOf(err) != c.kind || asked != c.asked {
				t.Errorf("%v (%v) after %d requests, want %d", err, fail.KindOf(err), asked, c.asked)
			}
		})
	}
}

// TestAnObjectThatIsHeldIsNotAStoreThatIsAway: the sweep stops where the store is away, and goes on behind an object that it can't have.
func TestAnObjectThatIsHeldIsNotAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
	}{{http.StatusConflict, "BlobImmutableDueToPolicy"}, {http.StatusPreconditionFailed, "LeaseIdMissing"}} {
		f := newFake(t)
		d := f.open(t, f.config(t))
		if _, err := d.Put(t.Context(), "name", 5, strings.NewReader("bytes")); err != nil {
			t.Fatal(err)
		}
		f.setFault(func(w http.ResponseWriter, r *http.Request, after bool) bool {
			if after || r.Method != http.MethodDelete {
				return false
			}
			refuse(w, c.status, c.code)
			return true
		})
		if err := d.Delete(t.Context(), "name"); !fail.Is(err, fail.Conflict) || !strings.Contains(fail.HintOf(err), "legal hold") {
			t.Errorf("%s: %v (%v), hint %q", c.code, err, fail.KindOf(err), fail.HintOf(err))
		}
	}
}

func TestAContainerIsMadeOnlyWhereThatIsAllowed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.absent = true
	c := f.config(t)
	c.Create = false
	if _, err := azure.New(t.Context(), c); !fail.Is(err, fail.NotFound) || !strings.Contains(fail.HintOf(err), "storage.azure.create_container") {
		t.Errorf("%v (%v), hint %q", err, fail.KindOf(err), fail.HintOf(err))
	}
	if !f.absent {
		t.Error("it was made")
	}
	c.Create = true
	f.open(t, c)
	if f.absent || len(f.objects) > 0 {
		t.Errorf("absent: %v; left are %v", f.absent, f.objects)
	}
}

func TestAServerThatWritesOverObjectsIsNotUsed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.setFault(func(_ http.ResponseWriter, r *http.Request, _ bool) bool {
		r.Header.Del("If-None-Match")
		return false
	})
	if _, err := azure.New(t.Context(), f.config(t)); !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "If-None-Match") {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
}

func TestARangeThatIsNotAnsweredIsAnError(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	d := f.open(t, f.config(t))
	if _, err := d.Put(t.Context(), "name", 10, strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	f.setFault(func(_ http.ResponseWriter, r *http.Request, _ bool) bool {
		r.Header.Del("X-Ms-Range")
		return false
	})
	if _, err := d.Get(t.Context(), "name", 5, -1); !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), "no range") {
		t.Errorf("%v", err)
	}
}

// TestWhatTheServerSaysGetsAKindAndAHint refuses the first request of the start.
func TestWhatTheServerSaysGetsAKindAndAHint(t *testing.T) {
	t.Parallel()
	const sas = "sv=2026-06-06&sp=rl&sig=hush"
	for name, c := range map[string]struct {
		status int
		code   string
		change func(*azure.Config)
		hint   string
	}{
		"wrong key":         {403, "AuthenticationFailed", nil, "storage.azure.key"},
		"keys not allowed":  {403, "KeyBasedAuthenticationNotPermitted", nil, "lets nobody in by key"},
		"clock":             {403, "AuthenticationFailed", func(c *azure.Config) { c.Clock = func() time.Time { return time.Now().Add(-90 * time.Minute) } }, "they are 1h"},
		"SAS over":          {403, "AuthenticationFailed", func(c *azure.Config) { c.Key, c.SAS, c.SASEnd = "", sas, time.Now().Add(-time.Hour) }, "over since 20"},
		"SAS too weak":      {403, "AuthorizationPermissionMismatch", func(c *azure.Config) { c.Key, c.SAS = "", sas }, "sp=rcwdl"},
		"SAS not for HTTP":  {403, "AuthorizationProtocolMismatch", func(c *azure.Config) { c.Key, c.SAS = "", sas }, "https://"},
		"other cloud":       {400, "InvalidUri", nil, ""},
		"deleted container": {409, "ContainerBeingDeleted", nil, "deleted the container"},
		"disabled account":  {403, "AccountIsDisabled", nil, "disabled"},
		"old server":        {400, "InvalidHeaderValue", nil, "--skipApiVersionCheck"},
		"busy":              {503, "ServerBusy", nil, "does not keep up"},
		"a web site":        {302, "", nil, "storage.azure.endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.setFault(func(w http.ResponseWriter, _ *http.Request, after bool) bool {
				if !after {
					refuse(w, c.status, c.code)
				}
				return !after
			})
			conf := f.config(t)
			if c.change != nil {
				c.change(&conf)
			}
			_, err := azure.New(t.Context(), conf)
			if err == nil || !strings.Contains(err.Error(), c.code) || !strings.Contains(fail.HintOf(err), c.hint) {
				t.Errorf("%v\nhint: %s", err, fail.HintOf(err))
			}
			if strings.Contains(err.Error()+fail.HintOf(err), "hush") {
				t.Errorf("a secret is repeated: %v", err)
			}
			if strings.Contains(err.Error(), "RequestId") {
				t.Errorf("more than the first line: %v", err)
			}
		})
	}
}

func TestASignatureIsInNoErrorOfTheConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.config(t)
	c.Key, c.SAS = "", "sv=2026-06-06&sig=hush"
	f.Close()
	_, err := azure.New(t.Context(), c)
	if !fail.Is(err, fail.Unavailable) || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "refused") || !strings.Contains(fail.HintOf(err), "storage.azure.endpoint") {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
}

// TestTheMachinesIdentityOpensAndSigns asks stand-ins for the machine's cloud and for the service.
func TestTheMachinesIdentityOpensAndSigns(t *testing.T) {
	f := newFake(t)
	f.Close()
	var bearer, keys int
	f.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-of-the-machine" {
			bearer++
		}
		if r.URL.Query().Get("comp") == "userdelegationkey" {
			keys++
			w.Header().Set("Content-Type", "application/xml")
			_, err := w.Write([]byte("<UserDelegationKey><SignedOid>o</SignedOid><SignedTid>t</SignedTid><SignedStart>2026-01-01T00:00:00Z</SignedStart><SignedExpiry>2099-01-01T00:00:00Z</SignedExpiry>" +
				"<SignedService>b</SignedService><SignedVersion>2026-06-06</SignedVersion><Value>a2V5</Value></UserDelegationKey>"))
			if err != nil {
				t.Error(err)
			}
			return
		}
		f.serve(w, r)
	}))
	t.Cleanup(f.Close)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Identity-Header") != "machine" || r.URL.Query().Get("client_id") != "which" {
			t.Errorf("the cloud is asked %v, %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(`{"access_token": "token-of-the-machine", "expires_on": "4102444800", "token_type": "Bearer"}`)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(cloud.Close)
	t.Setenv("IDENTITY_ENDPOINT", cloud.URL)
	t.Setenv("IDENTITY_HEADER", "machine")
	c := f.config(t)
	c.Key, c.ClientID, c.Sign, c.HTTP = "", "which", true, f.Client()
	now := time.Now()
	c.Clock = func() time.Time { return now }
	d := f.open(t, c)
	signer, ok := d.(blob.Signer)
	if !ok || bearer == 0 || keys != 1 {
		t.Fatalf("signs: %v; %d requests with a token, %d keys", ok, bearer, keys)
	}
	for range 2 {
		signed, err := signer.SignGet(t.Context(), "a name", time.Minute)
		at, parseErr := url.Parse(signed)
		if err != nil || parseErr != nil || at.Path != "/registry/some/where/a name" || at.Query().Get("skoid") != "o" || at.Query().Get("sp") != "r" || at.Query().Get("spr") != "https" {
			t.Errorf("%s, %v", signed, err)
		}
	}
	if keys != 1 {
		t.Errorf("%d keys for signatures of one day", keys)
	}
	now = now.Add(24 * time.Hour)
	if _, err := signer.SignGet(t.Context(), "name", time.Minute); err != nil || keys != 2 {
		t.Errorf("%d keys the day after, %v", keys, err)
	}
}

func TestAnAuthorityOfOnesOwnIsTrusted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.Close()
	f.Server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	c := f.config(t)
	if _, err := azure.New(t.Context(), c); err == nil || !strings.Contains(fail.HintOf(err), "storage.azure.ca_file") {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
	roots := x509.NewCertPool()
	roots.AddCert(f.Certificate())
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: time.Minute, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = client
	f.open(t, c)
}

// TestNobodyElseKeepsTheBytes: two copies of each upload would be more than a node may take.
func TestNobodyElseKeepsTheBytes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	if !blobtest.Store(f.open(t, f.config(t))).Resends() {
		t.Error("who sends again?")
	}
}
