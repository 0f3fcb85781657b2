package sweep_test

import (
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sweep"
)

func TestSessionsAndRevocationsThatAreOverAreRemoved(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	sealer, err := seal.Open(t.Context(), s.db, seal.Random())
	if err != nil {
		t.Fatal(err)
	}
	who, _, err := access.New(t.Context(), access.Config{DB: s.db, Clock: s.clock, Seal: sealer, AdminPassword: "a password", Cost: access.Cost{Passes: 1, MemoryKiB: 64}})
	if err != nil {
		t.Fatal(err)
	}
	begin := func() {
		t.Helper()
		admin, loginErr := who.Authenticate(t.Context(), "admin", "a password", "192.0.2.1")
		if loginErr != nil {
			t.Fatal(loginErr)
		}
		if _, err = who.Begin(t.Context(), admin, "192.0.2.1", "Mozilla"); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	if err = who.Revoke(t.Context(), "admin"); err != nil {
		t.Fatal(err)
	}
	s.move(13 * time.Hour)
	begin()
	s.once() // of a sweeper that knows nothing of these
	if s.rows("sessions") != 2 || s.rows("revocations") != 1 {
		t.Errorf("%d sessions, %d revocations", s.rows("sessions"), s.rows("revocations"))
	}
	s.sweep = sweep.New(sweep.Config{Registry: s.reg, Access: who, Node: s.node, Clock: s.clock})
	s.once()
	if s.rows("sessions") != 1 || s.rows("revocations") != 1 {
		t.Errorf("%d sessions, %d revocations after half a day", s.rows("sessions"), s.rows("revocations"))
	}
	s.move(48 * time.Hour)
	s.once()
	if s.rows("sessions") != 0 || s.rows("revocations") != 0 {
		t.Errorf("%d sessions, %d revocations after two days more", s.rows("sessions"), s.rows("revocations"))
	}
}
