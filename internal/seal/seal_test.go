package seal_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
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

func open(t *testing.T, db *sqldb.DB, secret string) *seal.Seal {
	t.Helper()
	s, err := seal.Open(t.Context(), db, secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestADatabaseIsOpenedWithItsFirstSecretAlone(t *testing.T) {
	t.Parallel()
	const secret = "sixteen letters!"
	db := database(t)
	for _, with := range []string{"", "short", secret} {
		if _, err := seal.Check(t.Context(), db, with); !fail.Is(err, fail.NotFound) {
			t.Errorf("a check of a database without a secret, with %q: %v", with, err)
		}
	}
	if _, err := seal.Open(t.Context(), db, "short"); !fail.Is(err, fail.Invalid) {
		t.Errorf("a short secret: %v", err)
	}
	open(t, db, secret)
	open(t, db, secret)
	for _, with := range []string{"", "short", secret + "!", seal.Random()} {
		for what, look := range map[string]func() (*seal.Seal, error){
			"open":  func() (*seal.Seal, error) { return seal.Open(t.Context(), db, with) },
			"check": func() (*seal.Seal, error) { return seal.Check(t.Context(), db, with) },
		} {
			s, err := look()
			if s != nil || !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" || strings.Contains(err.Error(), secret) {
				t.Errorf("%s with %q: %v", what, with, err)
			}
		}
	}
}

func TestOfNodesThatStartAtOnceWithDifferentSecretsOneWins(t *testing.T) {
	t.Parallel()
	db := database(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		all.Go(func() {
			_, err := seal.Open(t.Context(), db, seal.Random())
			if err != nil && !fail.Is(err, fail.Invalid) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d nodes opened the database", won)
	}
}

func TestWhatIsSealedIsOpenedUnderItsNameAndUnchanged(t *testing.T) {
	t.Parallel()
	secret := seal.Random()
	a, b := open(t, database(t), secret), open(t, database(t), secret)
	plain := []byte("the password of the directory")
	stored := a.Seal("ldap.password", plain)
	if got, err := b.Open("ldap.password", stored); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
	if strings.Contains(stored, "password") || stored == a.Seal("ldap.password", plain) {
		t.Errorf("stored as %s", stored)
	}
	for name, other := range map[string]string{"oidc.password": stored, "ldap.password": stored[:len(stored)-1] + "!", "ldap.password ": stored, "": stored} {
		if _, err := b.Open(name, other); !fail.Is(err, fail.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := b.Open("ldap.password", "in the clear"); !fail.Is(err, fail.Internal) {
		t.Errorf("what is not sealed: %v", err)
	}
	if _, err := open(t, database(t), seal.Random()).Open("ldap.password", stored); !fail.Is(err, fail.Invalid) {
		t.Errorf("with another secret: %v", err)
	}
}
