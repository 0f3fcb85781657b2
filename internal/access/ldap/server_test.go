package ldap

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

// quick is a time-out for servers that do not answer.
const quick = 300 * time.Millisecond

func login(t *testing.T, d *Directory) error {
	t.Helper()
	_, err := d.Login(t.Context(), "alice", "alicepw")
	return err
}

func TestAServerThatHangsIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	first, second := startFake(t), startFake(t)
	first.search, second.search = tree{staff, true, false}.search, tree{staff, true, false}.search
	d, k := open(t, func(c *Config) { c.Timeout = quick; c.Log = slog.New(slog.NewTextHandler(&log, nil)) }, first, second)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	if got := second.requests(""); len(got) != 0 {
		t.Fatalf("the second was asked though the first answers: %v", got)
	}
	first.pause()
	if err := login(t, d); err != nil {
		t.Fatalf("while one of two hangs: %v", err)
	}
	tried := first.connections()
	for range 3 {
		if err := login(t, d); err != nil {
			t.Fatal(err)
		}
	}
	if n := first.connections(); n != tried {
		t.Errorf("the one that hangs was tried again %d times", n-tried)
	}
	if text := log.String(); strings.Count(text, "LDAP server failed") != 1 || !strings.Contains(text, first.url()) || !strings.Contains(text, "does not answer within") {
		t.Errorf("%s", text)
	}
	// After its rest one request tries it, and then it rests for longer.
	k.forward(restFirst)
	for range 2 {
		if err := login(t, d); err != nil {
			t.Fatal(err)
		}
	}
	if n := first.connections(); n != tried+1 {
		t.Errorf("after its rest it was tried %d times", n-tried)
	}
	k.forward(restFirst)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	if n := first.connections(); n != tried+1 {
		t.Error("it does not rest longer than at first")
	}
	first.release()
	first.forget()
	second.forget()
	k.forward(restMost)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	if len(first.requests("bind "+aliceDN)) != 1 || len(second.requests("")) != 0 {
		t.Errorf("the first is back and not preferred: %v, %v", first.requests(""), second.requests(""))
	}
	if !strings.Contains(log.String(), "answers again") {
		t.Errorf("%s", &log)
	}
}

func TestAServerThatIsGoneCostsNothing(t *testing.T) {
	t.Parallel()
	first, second := startFake(t), startFake(t)
	first.search, second.search = tree{staff, true, false}.search, tree{staff, true, false}.search
	d, _ := open(t, nil, first, second)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	first.shut(first.listener)
	first.cutAll()
	if err := login(t, d); err != nil {
		t.Errorf("one of two is gone: %v", err)
	}
	second.shut(second.listener)
	second.cutAll()
	err := login(t, d)
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), first.url()) || !strings.Contains(err.Error(), second.url()) || !strings.Contains(fail.HintOf(err), "nobody listens there") {
		t.Errorf("both are gone: %v, hint %q", err, fail.HintOf(err))
	}
}

func TestTheOnlyServerIsAskedThoughItRests(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, _ := open(t, func(c *Config) { c.Timeout = quick }, f)
	f.pause()
	begin := time.Now()
	err := login(t, d)
	if took := time.Since(begin); !fail.Is(err, fail.Unavailable) || took > 4*quick {
		t.Errorf("%v after %s", err, took)
	}
	f.release()
	if err = login(t, d); err != nil {
		t.Errorf("it answers again: %v", err)
	}
}

func TestConnectionsThatBrokeWhileNobodyUsedThemAreReplaced(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, k := open(t, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }, f)
	for _, pause := range []time.Duration{0, idlePing, connectionLife} {
		if err := login(t, d); err != nil {
			t.Fatal(err)
		}
		f.cutAll()
		k.forward(pause)
		if err := login(t, d); err != nil {
			t.Errorf("after %s: %v", pause, err)
		}
	}
	if strings.Contains(log.String(), "failed") {
		t.Errorf("%s", &log)
	}
}

func TestAConnectionThatWasIdleIsTriedWithoutASearch(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, k := open(t, nil, f)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	k.forward(idlePing)
	f.forget()
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	if pings, searches, binds := f.requests("extended "+goldap.ControlTypeWhoAmI), f.requests("search "), f.requests("bind "); len(pings) != 1 || len(searches) != 3 || len(binds) != 1 {
		t.Errorf("%v", f.requests(""))
	}
	k.forward(connectionLife)
	f.forget()
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	if binds := f.requests("bind " + searcher); len(binds) != 1 {
		t.Errorf("an old connection is still used: %v", f.requests(""))
	}
}

func TestWhoGivesUpSaysNothingOfTheServer(t *testing.T) {
	t.Parallel()
	first, second := startFake(t), startFake(t)
	first.search, second.search = tree{staff, true, false}.search, tree{staff, true, false}.search
	d, _ := open(t, nil, first, second)
	first.pause()
	ctx, cancel := context.WithTimeout(t.Context(), quick)
	defer cancel()
	begin := time.Now()
	_, err := d.Login(ctx, "alice", "alicepw")
	if !fail.Is(err, fail.Unavailable) || time.Since(begin) > patience/2 {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	first.release()
	if err = login(t, d); err != nil || len(second.requests("")) != 0 {
		t.Errorf("%v; the second was asked: %v", err, second.requests(""))
	}
}

func TestTheSearchAccountsPasswordIsTriedAtOneServer(t *testing.T) {
	t.Parallel()
	first, second := startFake(t), startFake(t)
	d, _ := open(t, func(c *Config) { c.SearchPassword = "old" }, first, second)
	err := login(t, d)
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), string(stepBind)) || !strings.Contains(fail.HintOf(err), "the search account's name or password is wrong") {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
	// Where it is wrong it is wrong everywhere, and the directory locks accounts that try too often.
	if n := len(first.requests("bind ")) + len(second.requests("bind ")); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
}

func TestAClosedDirectoryKeepsNoConnections(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.search = tree{staff, true, false}.search
	d, _ := open(t, nil, f)
	if err := login(t, d); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := login(t, d); err != nil { // one that was under way
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		n := f.open
		f.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", n)
		}
	}
}
