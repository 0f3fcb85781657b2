package server

import (
	"context"
	"testing"
	"time"
)

func TestAStoreThatHangsTakesNobodyElsesTime(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	release := make(chan struct{})
	r := &readiness{clock: time.Now}
	questions := map[string]func(context.Context) State{
		"database": func(context.Context) State { return State{Status: stateOK, Kind: "mysql"} },
		"blobs": func(context.Context) State { // as a directory whose server is gone: no context ends it
			asked <- struct{}{}
			<-release
			return State{Status: stateOK, Kind: "blobs"}
		},
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		seen := r.ask(ctx, questions)
		cancel()
		if seen["database"].Status != stateOK || seen["blobs"].Status != "unavailable" || seen["blobs"].Kind != "blobs" {
			t.Fatalf("%+v", seen)
		}
	}
	if len(asked) != 1 {
		t.Errorf("one that hangs was asked %d times at once", len(asked))
	}
	close(release)
	for end := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		seen := r.ask(ctx, questions)
		cancel()
		if seen["blobs"].Status == stateOK {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it is back, and seen as %+v", seen)
		}
	}
}

func TestAnAnswerCountsThatCameWhileAnotherWasWaitedFor(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // of two that are ready, select takes either
		answer := make(chan State, 1)
		answer <- State{Status: stateOK}
		if s, answered := await(over, answer); !answered || s.Status != stateOK {
			t.Fatal("an answer was passed over")
		}
	}
	if _, answered := await(over, make(chan State, 1)); answered {
		t.Error("nobody answered")
	}
}
