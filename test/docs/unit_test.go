package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

// looseness is how much systemd may find open in the unit, of 100: what is left is the network, which a registry needs, and the host's own users and root directory.
const looseness = "20"

func TestSystemdTakesTheUnitAndFindsItHardened(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(top, "deploy", "havn.service"))
	if err != nil {
		t.Fatal(err)
	}
	const program = "ExecStart=/usr/local/bin/havn "
	if !strings.Contains(string(text), "\n"+program) {
		t.Fatalf("the unit does not start %s", program)
	}
	unit := filepath.Join(t.TempDir(), "havn.service")
	if err = os.WriteFile(unit, []byte(strings.Replace(string(text), program, "ExecStart="+harness.Binary(t)+" ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"systemd-analyze", "verify", "--man=no", unit},
		{"systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=" + looseness, unit},
	} {
		code, out := execute(t, top, nil, argv...)
		if code != 0 || argv[1] == "verify" && out != "" {
			t.Errorf("%s: exit code %d\n%s", strings.Join(argv, " "), code, out)
		}
	}
}
