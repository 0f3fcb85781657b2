package server_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

// TestADatabaseThatIsOlderThanTheStoreIsToldOfUntilItIsConfirmed: the store bears the mark that a later state of the database left.
func TestADatabaseThatIsOlderThanTheStoreIsToldOfUntilItIsConfirmed(t *testing.T) {
	t.Parallel()
	r := start(t)
	data := "HAVN_DATA_DIR=" + r.data
	r.end(t)
	mustWrite(t, filepath.Join(r.data, "blobs", "havn-epoch-0000000000"), "begun")

	const advice = "havn store confirm"
	all, _ := diagnose(t, data)
	if got := find(all, "blobs", server.Wrong); !strings.Contains(got, "nothing is deleted from the blob store") || !strings.Contains(got, advice) {
		t.Errorf("doctor says %q", got)
	}
	c, _ := configure(t, data)
	again := startWith(t, server.Options{Config: c}, r.data)
	if !strings.Contains(again.log.String(), advice) {
		t.Error("the start says nothing")
	}
	await(t, "the process says where it answers", func() bool { all, _ = diagnose(t, data); return find(all, "process", server.Good) != "" })
	if got := find(all, "blobs", server.Wrong); !strings.Contains(got, advice) {
		t.Errorf("while it serves, doctor says %q", got)
	}
	if seen := server.Look(t.Context(), c); seen.Level != server.LevelDegraded || !strings.Contains(find(seen.Findings, "blobs", server.Wrong), advice) {
		t.Errorf("while it serves, status says that the registry is %s: %+v", seen.Level, seen.Findings)
	}
	if _, err := server.ConfirmStore(t.Context(), c); !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("while it serves: %v", err)
	}
	again.end(t)
	if n, err := server.ConfirmStore(t.Context(), c); err != nil || n != 1 {
		t.Errorf("epoch %d, %v", n, err)
	}
	all, _ = diagnose(t, data)
	noneWrong(t, all)
	third := startWith(t, server.Options{Config: c}, r.data)
	if strings.Contains(third.log.String(), advice) {
		t.Error("the start still says it")
	}
	await(t, "the process says where it answers", func() bool { all, _ = diagnose(t, data); return find(all, "process", server.Good) != "" })
	if seen := server.Look(t.Context(), c); seen.Level != server.LevelGood {
		t.Errorf("status still says it: %+v", seen.Findings)
	}
}
