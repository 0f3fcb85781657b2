package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/server"
)

// refusedStart wants a start to be refused.
func refusedStart(t *testing.T, want string, env ...string) {
	t.Helper()
	c, _ := configure(t, env...)
	_, err := server.New(t.Context(), server.Options{Config: c, Stderr: &journal{}})
	notNil(t, err, want)
	if !fail.Is(err, fail.Invalid) || !strings.Contains(fail.HintOf(err), "cluster.secret") {
		t.Errorf("%v: kind %v, hint %q", err, fail.KindOf(err), fail.HintOf(err))
	}
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
}

func TestTheFirstStartMakesTheClusterSecretAndLaterOnesNeedIt(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.end(t)
	file := filepath.Join(r.data, "cluster-secret")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) != 64 || strings.Contains(r.log.String(), secret) {
		t.Errorf("a secret of %d bytes; or it is in the log", len(secret))
	}
	data := "HAVN_DATA_DIR=" + r.data
	start(t, data).end(t)
	start(t, data, "HAVN_CLUSTER_SECRET="+secret).end(t)
	refusedStart(t, "sealed with another cluster secret", data, "HAVN_CLUSTER_SECRET="+secret+"!")
	mustWrite(t, file, "short")
	refusedStart(t, "holds 5 bytes, too few", data)
	if err = os.Remove(file); err != nil {
		t.Fatal(err)
	}
	refusedStart(t, "this node has no cluster secret", data)
	mustBeAbsent(t, file)
	mustWrite(t, file, secret)
	start(t, data).end(t)
}

func TestAnIndexInMemoryLeavesNoSecret(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_STORAGE_DRIVER=memory")
	mustBeAbsent(t, filepath.Join(r.data, "cluster-secret"))
}
