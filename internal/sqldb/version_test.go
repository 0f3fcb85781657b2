package sqldb

import (
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

func TestAServerThatIsTooOldIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version string
		old     bool
	}{
		{"10.1.48-MariaDB-0+deb9u2", true},
		{"10.2.0-MariaDB", true},
		{"5.5.68-MariaDB", true},
		{"5.5.5-10.1.48-MariaDB-log", true},
		{"5.5.5-10.6.18-MariaDB-log", false},
		{"10.2.1-MariaDB", false},
		{"10.11.19-MariaDB-0+deb12u1", false},
		{"11.4.2-MariaDB", false},
		{"5.7.44-log", true},
		{"8.0.15", true},
		{"8.0.16", false},
		{"8.0.36-28.1", false}, // Percona
		{"8.4.3", false},
		{"something else", false},
		{"", false},
	} {
		status := map[string]string{"wsrep_cluster_status": "Primary", "wsrep_ready": "ON", "wsrep_local_state": galeraSynced}
		for _, galera := range []string{"", "ON"} {
			s := mysqlSight(map[string]string{"version": c.version, "wsrep_on": galera}, status, false)
			refused := s.cond == unfit && s.final && strings.Contains(s.why, "Havn needs") && strings.Contains(s.hint, "upgrade")
			if refused != c.old || !refused && s.cond != fit {
				t.Errorf("%q with wsrep_on=%s is %+v", c.version, galera, s)
			}
		}
	}
	for version, old := range map[string]bool{
		"9.6.24": true, "10.23 (Debian 10.23-1)": true, "11.0": false, "11": false, "15.18 (Debian 15.18-0+deb12u1)": false, "18beta1": false, "": false,
	} {
		if got := postgresBrand.tooOld(version); got != old {
			t.Errorf("PostgreSQL %q is too old: %v, want %v", version, got, old)
		}
	}
}

func TestTheStartEndsAtOnceWhereEveryServerIsTooOld(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.put("a:1", mariaBrand.refuse("10.1.48-MariaDB"), nil)
	_, err := f.open(t, time.Now, "", "a:1")
	if err == nil || isRefusal(err) || !strings.Contains(err.Error(), "is MariaDB 10.1.48: Havn needs 10.2.1 or later") || !strings.Contains(fail.HintOf(err), "upgrade the server") {
		t.Errorf("the start ends with %v; %s", err, fail.HintOf(err))
	}
	f.put("b:1", sight{cond: fit}, nil)
	w, err := f.open(t, time.Now, "", "a:1", "b:1")
	if err != nil {
		t.Fatal(err)
	}
	await(t, w, "b:1")
}

func TestTheServersProductIsTold(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"10.11.19-MariaDB-0+deb12u1": "MariaDB 10.11.19-MariaDB-0+deb12u1",
		"8.4.3":                      "MySQL 8.4.3 (Havn is tested on MariaDB, and never on MySQL)",
	} {
		b, text := brandOf(version)
		if got := b.found(text); !got.OK || got.What != want {
			t.Errorf("it is %q, want %q", got.What, want)
		}
	}
}
