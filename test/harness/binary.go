package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/havn-registry/havn/test/programs"
)

// binary is the program under test, built once in a run of a package's tests, and only if a test wants it.
var binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main runs the tests of a package and removes what was built for all of them.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "havn-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binary.dir = dir
	code := m.Run()
	if err = os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// BinaryVariable names the program to test in the environment, if it is not to be built from this checkout.
const BinaryVariable = "HAVN_TEST_BINARY"

// Binary answers the path of the program, built from this checkout, or the one that BinaryVariable names.
func Binary(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(BinaryVariable); given != "" {
		return given
	}
	binary.once.Do(func() {
		if binary.dir == "" {
			binary.err = fmt.Errorf("TestMain of this package does not call harness.Main")
			return
		}
		binary.path, binary.err = Build(binary.dir)
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binary.path
}

// Build builds the program into a directory, and answers its path.
func Build(dir string) (string, error) {
	from, err := root()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "havn")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/havn")
	cmd.Dir = from
	if out, buildErr := cmd.CombinedOutput(); buildErr != nil {
		return "", fmt.Errorf("go build ./cmd/havn: %w\n%s", buildErr, out)
	}
	return path, nil
}

// root finds the folder of the program's module, above that of the tests.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err = os.Stat(filepath.Join(dir, "cmd", "havn")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no folder above this one holds cmd/havn")
}

// Client answers the path of a client that prepare builds.
func Client(t testing.TB, name string) string {
	t.Helper()
	c, ok := programs.ClientNamed(name)
	if !ok {
		t.Fatalf("no client %q in test/programs", name)
	}
	path, err := c.Path()
	if err != nil {
		t.Fatal(err)
	}
	if _, err = os.Stat(path); err != nil {
		t.Fatalf("%s %s is missing (%v): run `go run ./prepare` in test/", c.Name, c.Version, err)
	}
	return path
}

// Need fails the test when a program of a Debian package is missing.
func Need(t testing.TB, packages ...string) {
	t.Helper()
	for _, missing := range programs.Missing() {
		for _, name := range packages {
			if name == missing {
				t.Fatalf("Debian's %s is missing: run `go run ./prepare` in test/, as root", name)
			}
		}
	}
}

// NeedRoot fails the test when it does not run as root.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test mounts and makes namespaces: run it as root")
	}
}
