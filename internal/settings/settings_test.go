package settings_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/settings"
	"github.com/havn-registry/havn/internal/sqldb"
)

func database(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func loaded(t *testing.T, from config.Source) *config.Config {
	t.Helper()
	c, _, err := config.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, db *sqldb.DB, given *config.Config) *settings.Store {
	t.Helper()
	s, err := seal.Open(t.Context(), db, strings.Repeat("s", seal.LeastSecret))
	if err != nil {
		t.Fatal(err)
	}
	store, err := settings.Open(t.Context(), settings.Config{DB: db, Seal: s, Given: given})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func put(t *testing.T, s *settings.Store, values map[string]string, want ...string) {
	t.Helper()
	changed, err := s.Put(t.Context(), values)
	if err != nil || !slices.Equal(changed, want) {
		t.Fatalf("changed %v, %v", changed, err)
	}
}

func TestASettingIsTheSameOnEveryNode(t *testing.T) {
	db := database(t)
	one, two := open(t, db, config.Default()), open(t, db, config.Default())
	heard := make(chan int, 10)
	two.Changed(func(l *config.Live) { heard <- l.SessionTimeout })
	if first := <-heard; first != 60 {
		t.Fatalf("told %d at first", first)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- two.Run(ctx) }()
	put(t, one, map[string]string{"session_timeout": "17", "read_only": "false"}, "session_timeout")
	if one.Live().SessionTimeout != 17 {
		t.Errorf("%d where it was set", one.Live().SessionTimeout)
	}
	select {
	case got := <-heard:
		if got != 17 || two.Live().SessionTimeout != 17 {
			t.Errorf("told %d", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("the other node was not told")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if again := open(t, db, config.Default()); again.Live().SessionTimeout != 17 {
		t.Errorf("%d after a new start", again.Live().SessionTimeout)
	}
}

func TestSecretsAreSealed(t *testing.T) {
	db := database(t)
	s := open(t, db, config.Default())
	put(t, s, map[string]string{"ldap_search_dn": "cn=havn", "ldap_search_password": "very secret"}, "ldap_search_dn", "ldap_search_password")
	var stored string
	if err := db.Row(t.Context(), "SELECT v FROM settings WHERE k = ?", "ldap_search_password").Scan(&stored); err != nil || strings.Contains(stored, "secret") {
		t.Errorf("stored as %q, %v", stored, err)
	}
	if got := open(t, db, config.Default()).Live().LDAP.SearchPassword.Reveal(); got != "very secret" {
		t.Errorf("%q", got)
	}
}

func TestWhatCanNotBeIsRefusedAndChangesNothing(t *testing.T) {
	db := database(t)
	s := open(t, db, config.Default())
	for name, values := range map[string]map[string]string{
		"unknown":            {"session_timeout": "5", "no_such_thing": "1"},
		"no number":          {"session_timeout": "five"},
		"out of range":       {"session_timeout": "0"},
		"no word":            {"auth_mode": "uaa_auth"},
		"LDAP without a URL": {"session_timeout": "5", "auth_mode": "ldap_auth"},
		"a wrong URL":        {"ldap_url": "http://ldap.example.com"},
		"NUL":                {"ldap_base_dn": "dc=\x00"},
		"no prefix":          {"robot_name_prefix": ""},
		"a prefix with a /":  {"robot_name_prefix": "a/b"},
	} {
		if changed, err := s.Put(t.Context(), values); !fail.Is(err, fail.Invalid) || changed != nil || fail.HintOf(err) == "" {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
	if got := open(t, db, config.Default()).Live(); *got != config.Default().Live {
		t.Errorf("%+v", got)
	}
	_, err := s.Put(t.Context(), map[string]string{"oidc_client_secret": strings.Repeat("x", 5000)})
	if !fail.Is(err, fail.Invalid) || strings.Contains(err.Error()+fail.HintOf(err), "xxx") {
		t.Errorf("%v", err)
	}
}

func TestSettingsThatCanNotBeUsedAreRefusedUnlessTheyWereNotBefore(t *testing.T) {
	db := database(t)
	sealer, err := seal.Open(t.Context(), db, strings.Repeat("s", seal.LeastSecret))
	if err != nil {
		t.Fatal(err)
	}
	broken := fail.E(fail.Invalid, nil, "a filter that is none").Hint("correct it")
	s, err := settings.Open(t.Context(), settings.Config{DB: db, Seal: sealer, Given: config.Default(), Usable: func(l *config.Live) error {
		if l.LDAP.Filter == "(((" {
			return broken
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if changed, putErr := s.Put(t.Context(), map[string]string{"session_timeout": "17", "ldap_filter": "((("}); !fail.Is(putErr, fail.Invalid) || fail.HintOf(putErr) != "correct it" || changed != nil {
		t.Errorf("%v, %v", changed, putErr)
	}
	if *s.Live() != config.Default().Live {
		t.Errorf("%+v", s.Live())
	}
	put(t, open(t, db, config.Default()), map[string]string{"ldap_filter": "((("}, "ldap_filter") // by a version that did not look
	put(t, s, map[string]string{"session_timeout": "17"}, "session_timeout")
	put(t, s, map[string]string{"ldap_filter": "(a=b)"}, "ldap_filter")
}

func TestWhatTheFileSetsIsFixed(t *testing.T) {
	db := database(t)
	put(t, open(t, db, config.Default()), map[string]string{"session_timeout": "17", "banner_message": "moved"}, "banner_message", "session_timeout")
	s := open(t, db, loaded(t, config.Source{Env: []string{"HAVN_SETTINGS_SESSION_TIMEOUT=30"}}))
	if s.Live().SessionTimeout != 30 || s.Live().BannerMessage != "moved" || !s.Fixed("session_timeout") || s.Fixed("banner_message") {
		t.Errorf("%+v", s.Live())
	}
	if _, err := s.Put(t.Context(), map[string]string{"session_timeout": "40"}); !fail.Is(err, fail.Denied) || !strings.Contains(fail.HintOf(err), "HAVN_SETTINGS_SESSION_TIMEOUT") {
		t.Errorf("%v, %s", err, fail.HintOf(err))
	}
	put(t, s, map[string]string{"session_timeout": "30", "banner_message": ""}, "banner_message")
}

func TestAnotherProgramsFileCountsUntilSomebodyChangesIt(t *testing.T) {
	db := database(t)
	given := loaded(t, config.Source{Base: []config.Given{
		{Key: "settings.ldap_url", Value: []string{"ldap://old.example.com"}, Where: "harbor.cfg:1"},
		{Key: "settings.ldap_search_password", Value: []string{"hidden"}, Where: "harbor.cfg:2"},
	}})
	s := open(t, db, given)
	if s.Live().LDAP.URL != "ldap://old.example.com" || s.Live().LDAP.SearchPassword.Reveal() != "hidden" || s.Fixed("ldap_url") {
		t.Errorf("%+v", s.Live().LDAP)
	}
	put(t, s, map[string]string{"ldap_url": "ldaps://new.example.com", "ldap_search_dn": "cn=havn"}, "ldap_search_dn", "ldap_url")
	for range 2 {
		if got := open(t, db, given).Live().LDAP; got.URL != "ldaps://new.example.com" || got.SearchPassword.Reveal() != "hidden" {
			t.Errorf("%+v after a new start", got)
		}
	}
}

func TestAStoredValueOfAnotherVersionDoesNotStopTheStart(t *testing.T) {
	db := database(t)
	err := db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		for k, v := range map[string]string{"session_timeout": "soon", "of_tomorrow": "1", "oidc_client_secret": "not sealed"} {
			if _, err := tx.Exec(t.Context(), "INSERT INTO settings (k, v, changed_at) VALUES (?, ?, 1)", k, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := open(t, db, config.Default()).Live(); *got != config.Default().Live {
		t.Errorf("%+v", got)
	}
}
