package stores

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mostProgram is how large the program may become without its symbols: each store brings its vendor's library.
const mostProgram = 70 << 20

func TestTheProgramStaysSmallWithAllStores(t *testing.T) {
	to := filepath.Join(t.TempDir(), "havn")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", to, "./cmd/havn")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MiB without symbols", float64(info.Size())/(1<<20))
	if info.Size() > mostProgram {
		t.Errorf("%d MiB, more than %d", info.Size()>>20, int64(mostProgram)>>20)
	}
}
