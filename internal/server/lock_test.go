package server

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestALockSaysWhoHoldsItAtEveryMoment(t *testing.T) {
	t.Parallel()
	for range 300 {
		l, err := takeLock(filepath.Join(t.TempDir(), lockName), Holder{PID: 7, Host: "here"})
		if err != nil {
			t.Fatal(err)
		}
		said := make(chan error, 1)
		go func() { said <- l.answers("http://127.0.0.1:5000", "1.0", 5) }()
		for waiting := true; waiting; {
			select {
			case err = <-said:
				waiting = false
			default:
			}
			if h := readHolder(l.file); h.PID != 7 || !waiting && h.URL == "" {
				t.Fatalf("holder %+v", h)
			}
		}
		if err = errors.Join(err, l.release()); err != nil {
			t.Fatal(err)
		}
	}
}
