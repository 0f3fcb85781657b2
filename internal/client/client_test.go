package client_test

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

// odd is a server that answers what no registry should. What a right one answers is tried by the tests of cmd/havn, at a real one.
func odd(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := client.New(client.Config{Server: s.URL, User: "maria", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	if _, err := io.WriteString(w, body); err != nil {
		panic(err)
	}
}

// wants checks kind and words of an error.
func wants(t *testing.T, err error, kind fail.Kind, text, hint string) {
	t.Helper()
	if !fail.Is(err, kind) || !strings.Contains(err.Error(), text) || !strings.Contains(fail.HintOf(err), hint) {
		t.Errorf("%v (%v, %q), want %v with %q and %q", err, fail.KindOf(err), fail.HintOf(err), kind, text, hint)
	}
}

func TestAnswersThatAreNoRegistrys(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"a page": {200, "<html>"}, "a page that is not there": {404, "<html>"}, "a teapot": {418, `{"errors":[{"code":"X","message":"x"}]}`}, "nothing": {200, ""}, "a list": {200, "[1]"}, "no errors": {404, `{"errors":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := odd(t, func(w http.ResponseWriter, _ *http.Request) { write(w, answer.status, answer.body) })
			_, err := c.GetProject(t.Context(), "team")
			wants(t, err, fail.Conflict, "not as a registry", "is that the address of Havn")
		})
	}
	c := odd(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Total-Count", "many")
		write(w, http.StatusOK, "[]")
	})
	_, _, err := c.ListProjects(t.Context(), client.ListProjectsParams{})
	wants(t, err, fail.Conflict, "not as a registry", "")
	c = odd(t, func(w http.ResponseWriter, _ *http.Request) { write(w, 200, strings.Repeat(" ", 65<<20)) })
	_, err = c.GetProject(t.Context(), "team")
	wants(t, err, fail.TooLarge, "64 MiB", "")
	c = odd(t, func(w http.ResponseWriter, _ *http.Request) {
		write(w, 403, `{"errors":[{"code":"FORBIDDEN","message":"\u001b[31mno\u0007\nreally"}]}`)
	})
	_, err = c.GetProject(t.Context(), "team")
	wants(t, err, fail.Denied, "denied:  [31mno  really", "")
}

func TestARedirectIsNotFollowedWithAPassword(t *testing.T) {
	t.Parallel()
	var told atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told.Store(r.Header.Get("Authorization") != "") }))
	t.Cleanup(thief.Close)
	c := odd(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	_, err := c.CreateProject(t.Context(), client.ProjectReq{ProjectName: "team"})
	wants(t, err, fail.Conflict, "sends on to", "log in there")
	if told.Load() {
		t.Error("another server was told the password")
	}
}

func TestAQuestionIsAskedAgainAndAChangeIsNot(t *testing.T) {
	t.Parallel()
	var asked, changed atomic.Int64
	c := odd(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && asked.Add(1) == 2 {
			write(w, 200, `{"name":"team"}`)
			return
		}
		if r.Method == http.MethodPost {
			changed.Add(1)
		}
		w.Header().Set("Retry-After", "1")
		write(w, 503, `{"errors":[{"code":"SERVICE_UNAVAILABLE","message":"no quorum"}]}`)
	})
	p, err := c.GetProject(t.Context(), "team")
	if err != nil || p.Name != "team" || asked.Load() != 2 {
		t.Errorf("%+v, %v after %d", p, err, asked.Load())
	}
	_, err = c.CreateProject(t.Context(), client.ProjectReq{ProjectName: "team"})
	wants(t, err, fail.Unavailable, "no quorum", "")
	if changed.Load() != 1 {
		t.Errorf("a change was sent %d times", changed.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.GetProject(ctx, "team")
	wants(t, err, fail.Unavailable, "", "")
	balancer := odd(t, func(w http.ResponseWriter, _ *http.Request) { write(w, 502, "<html>") })
	_, err = balancer.GetProject(t.Context(), "team")
	wants(t, err, fail.Unavailable, "502", "try again")
}

func TestACertificateOfAnUnknownAuthorityIsNotTrustedUntilItIsGiven(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, 200, `{"name":"team"}`) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := client.New(client.Config{Server: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetProject(t.Context(), "team")
	wants(t, err, fail.Conflict, "certificate", "--ca-file")
	trusting := client.Config{Server: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
	if c, err = client.New(trusting); err == nil {
		_, err = c.GetProject(t.Context(), "team")
	}
	if err != nil {
		t.Error(err)
	}
	trusting.Server = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if c, err = client.New(trusting); err == nil {
		_, err = c.GetProject(t.Context(), "team")
	}
	wants(t, err, fail.Conflict, "localhost", "the name that its certificate has")
	_, err = client.New(client.Config{Server: s.URL, CA: []byte("x")})
	wants(t, err, fail.Invalid, "no certificate", "PEM")
}

func TestAllPagesAreAskedForUntilThereIsNoMore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ there, limit, want, pages int64 }{{0, 0, 0, 1}, {100, 0, 100, 1}, {101, 0, 101, 2}, {250, 0, 250, 3}, {250, 120, 120, 2}, {250, 7, 7, 1}, {5, 7, 5, 1}} {
		pages := int64(0)
		all, total, err := client.All(c.limit, func(page, size int64) ([]int64, int64, error) {
			pages++
			var entries []int64
			for i := (page - 1) * size; i < min(page*size, c.there); i++ {
				entries = append(entries, i)
			}
			return entries, c.there, nil
		})
		if err != nil || int64(len(all)) != c.want || total != c.there || pages != c.pages {
			t.Errorf("%+v: %d of %d in %d pages, %v", c, len(all), total, pages, err)
		}
		for i, n := range all {
			if n != int64(i) {
				t.Fatalf("%+v: entry %d is %d", c, i, n)
			}
		}
	}
}
