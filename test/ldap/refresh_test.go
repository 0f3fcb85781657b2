package ldap

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

// site is who may do what, with a directory and a clock that the test moves.
type site struct {
	*access.Access
	t     *testing.T
	ahead atomic.Int64
	team  int64
}

func served(t *testing.T, l *lab.LDAP) *site {
	t.Helper()
	s, d := &site{t: t}, open(t, guide(l))
	clock := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Clock: clock})
	need(t, err)
	t.Cleanup(func() { need(t, db.Close()) })
	need(t, db.Migrate(t.Context()))
	sealer, err := seal.Open(t.Context(), db, seal.Random())
	need(t, err)
	s.Access, _, err = access.New(t.Context(), access.Config{DB: db, Seal: sealer, Clock: clock, AdminPassword: "of nobody", Cost: access.Cost{Passes: 1, MemoryKiB: 64}, Provider: func() access.Provider { return d }})
	need(t, err)
	need(t, db.Tx(t.Context(), "test.project", func(tx *sqldb.Tx) (err error) {
		s.team, err = index.AddProject(t.Context(), tx, index.Project{Name: "team"})
		return err
	}))
	return s
}

// granted answers who logs in, and what a token for team/app would hold.
func (s *site) granted(name, secret string) (access.Identity, string) {
	s.t.Helper()
	who, err := s.Authenticate(s.t.Context(), name, secret, "192.0.2.1")
	need(s.t, err)
	scopes, err := s.Grant(s.t.Context(), who, []access.Scope{{Type: "repository", Name: "team/app", Actions: []string{"pull", "push"}}})
	need(s.t, err)
	var actions []string
	for _, scope := range scopes {
		actions = append(actions, scope.Actions...)
	}
	return who, strings.Join(actions, ",")
}

// TestAGroupThatIsTakenAwayEndsItsRight takes somebody out of his group in a real directory. He goes on with a token of his own, which asks no directory: so it is the refresh that ends the right, or an
// administrator who revokes what he was given, at once.
func TestAGroupThatIsTakenAwayEndsItsRight(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	s := served(t, l)
	ctx := t.Context()
	_, err := s.AddMember(ctx, s.team, access.MemberSpec{GroupKey: strings.ToLower(lab.LDAPGroupDN("registry-users")), Role: access.Developer})
	need(t, err)
	who, got := s.granted(bob.Account, bob.Password())
	if got != "pull,push" {
		t.Fatalf("a developer by his group: %q", got)
	}
	_, own, err := s.CreateUserToken(ctx, who.User, "laptop", time.Time{})
	need(t, err)
	has := func(when, want string) {
		t.Helper()
		if _, now := s.granted(bob.Account, own); now != want {
			t.Errorf("%s: %q, want %q", when, now, want)
		}
	}
	member := func(change string) {
		t.Helper()
		need(t, l.Change(ctx, fmt.Sprintf("dn: %s\nchangetype: modify\n%s: member\nmember: %s\n", lab.LDAPGroupDN("registry-users"), change, bob.DN())))
	}
	look, looked := make(chan time.Time), make(chan struct{})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	holds := func(context.Context) (bool, error) { looked <- struct{}{}; return true, running.Err() }
	go func() { ended <- access.Duty{Access: s.Access, Holds: holds, Every: look}.Run(running) }()
	refresh := func() {
		look <- time.Time{}
		<-looked
		look <- time.Time{} // it is taken when the round before is over
		<-looked
	}

	member("delete")
	refresh()
	has("what the directory told of a moment ago counts", "pull,push")
	s.ahead.Add(int64(access.DefaultRefreshAge + time.Minute))
	refresh()
	has("after the refresh", "")

	member("add")
	s.ahead.Add(int64(access.DefaultRefreshAge + time.Minute))
	refresh()
	has("in the group again", "pull,push")

	token, err := s.Issue(ctx, who, access.DefaultService, nil)
	need(t, err)
	member("delete")
	has("before anybody asked", "pull,push")
	need(t, s.Revoke(ctx, bob.Account))
	if _, err = s.Verify(ctx, token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a token of before the revocation: %v", err)
	}
	has("at once after the revocation", "")

	need(t, l.Change(ctx, fmt.Sprintf("dn: %s\nchangetype: delete\n", bob.DN())))
	s.ahead.Add(int64(access.DefaultRefreshAge + time.Minute))
	refresh()
	if _, err = s.Authenticate(ctx, bob.Account, own, "192.0.2.1"); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("whom the directory does not know any more: %v", err)
	}
	stop()
	need(t, <-ended)
}
