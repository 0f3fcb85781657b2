package server

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
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

// TestALockIsFreeWhenItIsReleased has a child of the process share the file, for the moment between its fork and its program.
func TestALockIsFreeWhenItIsReleased(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockName)
	for name, end := range map[string]func(*lock) error{"released": (*lock).release, "abandoned": (*lock).abandon} {
		l, err := takeLock(path, Holder{PID: 7, Host: "here"})
		if err != nil {
			t.Fatalf("before it is %s: %v", name, err)
		}
		shared, err := unix.Dup(int(l.file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if err = end(l); err != nil {
			t.Error(err)
		}
		if l, err = takeLock(path, Holder{PID: 8, Host: "here"}); err == nil {
			err = l.release()
		}
		if err = errors.Join(err, unix.Close(shared)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
