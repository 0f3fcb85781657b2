package access

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

func TestWhoComesDuringACheckTakesItsResult(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFlights()
			answer := make(chan struct{})
			checks, wrongs := 0, 0
			var mu sync.Mutex
			ask := func(ctx context.Context) {
				_, err := f.do(ctx, mark{1}, func() (Identity, bool, error) {
					mu.Lock()
					checks++
					mu.Unlock()
					<-answer
					return Identity{}, shared, wrong()
				})
				mu.Lock()
				defer mu.Unlock()
				if fail.Is(err, fail.Unauthenticated) {
					wrongs++
				}
			}
			gone, leave := context.WithCancel(t.Context())
			for range 9 {
				go ask(t.Context())
			}
			synctest.Wait() // all of them wait for one
			go ask(gone)
			synctest.Wait()
			leave()
			synctest.Wait()
			close(answer)
			synctest.Wait()
			want := 1
			if !shared {
				want = 9
			}
			if checks != want || wrongs != 9 || len(f.under) != 0 {
				t.Errorf("shared %v: %d checks, %d answers, %d left, want %d, 9, 0", shared, checks, wrongs, len(f.under), want)
			}
		})
	}
}

func TestALoginThatBeganBeforeAChangeIsNotRemembered(t *testing.T) {
	t.Parallel()
	v := newVerified(time.Now)
	joe, bot := Identity{Subject: "joe", User: 1}, Identity{Subject: "robot$1", Robot: 1}
	before := v.count()
	v.forget(owner{user: 1}) // the password was changed while the old one was checked
	v.put(mark{1}, joe, before)
	if _, ok := v.get(mark{1}); ok {
		t.Error("the old password is remembered")
	}
	v.put(mark{1}, joe, v.count())
	if _, ok := v.get(mark{1}); !ok {
		t.Error("the new password is not remembered")
	}
	v.put(mark{2}, bot, before)
	v.forget(owner{robot: 2}, owner{user: 3})
	for m, what := range map[mark]string{{1}: "a user's", {2}: "a robot's of the same number"} {
		if _, ok := v.get(m); !ok {
			t.Errorf("%s login is forgotten with somebody else's", what)
		}
	}
	before = v.count()
	for i := range int64(2 * latelyMost) { // more than are known one by one
		v.forget(owner{user: i + 10})
	}
	if _, ok := v.get(mark{1}); ok || len(v.lately) > latelyMost {
		t.Errorf("remembered %v, %d known one by one", ok, len(v.lately))
	}
	v.put(mark{1}, joe, before)
	if _, ok := v.get(mark{1}); ok {
		t.Error("a login of before all were forgotten is remembered")
	}
	v.put(mark{1}, joe, v.count())
	if _, ok := v.get(mark{1}); !ok {
		t.Error("nothing is remembered any more")
	}
}
