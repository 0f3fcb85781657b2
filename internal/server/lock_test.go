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

func TestAGlanceSaysWhoHoldsALockAndKeepsNobodyOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockName)
	if h, held, err := glance(path); err != nil || held || h.PID != 0 {
		t.Errorf("of no file: %+v, %v, %v", h, held, err)
	}
	for range 100 {
		stop, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				if _, _, err := glance(path); err != nil {
					ended <- err
					return
				}
			}
		}()
		l, err := takeLock(path, Holder{PID: 7, Host: "here"})
		if err != nil {
			t.Fatalf("a glance keeps a start off: %v", err)
		}
		h, held, err := glance(path)
		if err != nil || !held || h.PID != 7 {
			t.Errorf("%+v, %v, %v", h, held, err)
		}
		close(stop)
		if err = errors.Join(<-ended, l.release()); err != nil {
			t.Fatal(err)
		}
		if _, held, err = glance(path); err != nil || held {
			t.Errorf("after its release: %v, %v", held, err)
		}
	}
}
