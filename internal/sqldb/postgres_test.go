package sqldb

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/havn-registry/havn/internal/fail"
)

func TestNothingIsSentToPostgreSQLWithAConnectionThatPgBouncerRefuses(t *testing.T) {
	t.Parallel()
	pc, err := (&postgresProduct{cfg: &Config{Engine: Postgres, User: "u", Database: "d"}}).pooled("a:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name := range pc.RuntimeParams {
		if !slices.Contains([]string{"client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"}, name) {
			t.Errorf("%s is sent", name)
		}
	}
}

func TestErrorsOfPostgreSQLMean(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, severity, reason string
		kind                   fail.Kind
	}{
		{"40001", "ERROR", reasonConflict, 0},
		{"57P01", "FATAL", reasonNode, 0},
		{"57P05", "FATAL", reasonNode, 0},
		{"25P04", "FATAL", reasonNode, 0},
		{"XX000", "FATAL", reasonNode, 0},
		{"XX000", "ERROR", "", fail.Internal},
		{"28P01", "FATAL", "", fail.Unavailable},
		{"42501", "ERROR", "", fail.Unavailable}, // the registry's clients are not denied anything
		{"23505", "ERROR", "", fail.Exists},
	} {
		m := meaningPostgres(&pgconn.PgError{Code: c.code, SeverityUnlocalized: c.severity})
		if m.reason != c.reason || c.reason == "" && m.kind != c.kind {
			t.Errorf("%s %s means %+v", c.severity, c.code, m)
		}
	}
}
