package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

func look(t *testing.T, env ...string) server.Health {
	t.Helper()
	c, _ := configure(t, env...)
	return server.Look(t.Context(), c)
}

func TestStatusAsksTheProcessThatServes(t *testing.T) {
	t.Parallel()
	r := start(t)
	data := "HAVN_DATA_DIR=" + r.data
	var h server.Health
	await(t, "the lock to say where it answers", func() bool {
		h = look(t, data)
		return h.Level == server.LevelGood
	})
	if len(h.Nodes) != 1 || len(h.Findings) != 0 {
		t.Fatalf("%+v", h)
	}
	n := h.Nodes[0]
	if n.State != "serving" || n.Addr != r.URL() || n.Version != "test" || n.Incarnation <= 0 || n.Since.IsZero() || n.Host == "" {
		t.Errorf("%+v", n)
	}
	if h.Database.Engine != "sqlite" || h.Database.Status != "ok" || h.Database.Since.IsZero() || len(h.Stores["blobs"]) != 1 || h.Stores["blobs"][0].Status != "ok" {
		t.Errorf("%+v, %+v", h.Database, h.Stores)
	}
	c, _ := configure(t, data)
	if all, err := server.LookAtNodes(t.Context(), c); err != nil || len(all) != 1 || all[0].Incarnation != n.Incarnation {
		t.Errorf("%+v, %v", all, err)
	}
	text, err := json.Marshal(h)
	if err != nil || !strings.Contains(string(text), `"status":"good"`) || !strings.Contains(string(text), `"incarnation":"`) {
		t.Errorf("%s, %v", text, err)
	}
	// The store is another one now: pushes and pulls fail.
	if err = os.Rename(filepath.Join(r.data, "blobs"), filepath.Join(r.data, "away")); err != nil {
		t.Fatal(err)
	}
	await(t, "down without a store", func() bool {
		h = look(t, data)
		return h.Level == server.LevelDown && strings.Contains(find(h.Findings, "blobs", server.Wrong), "sees the blob store")
	})
	if err = os.Rename(filepath.Join(r.data, "away"), filepath.Join(r.data, "blobs")); err != nil {
		t.Fatal(err)
	}
	await(t, "good again", func() bool { return look(t, data).Level == server.LevelGood })
	r.end(t)
	if h = look(t, data); h.Level != server.LevelDown || !strings.Contains(find(h.Findings, "node", server.Wrong), "no process serves "+r.data) {
		t.Errorf("after the end: %+v", h)
	}
	if _, err = server.LookAtNodes(t.Context(), c); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

func TestStatusLooksAtNothingThatIsNotThere(t *testing.T) {
	t.Parallel()
	c, data := configure(t)
	if h := server.Look(t.Context(), c); h.Level != server.LevelDown {
		t.Errorf("%+v", h)
	}
	mustBeAbsent(t, data)
}
