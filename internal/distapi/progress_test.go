package distapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlines is a ResponseWriter whose deadlines can be looked at.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = append(d.write, t)
	return nil
}

func TestDeadlinesMoveOnWithABody(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	a := &API{clock: func() time.Time { return now }, patience: 80 * time.Second}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPut, "/", strings.NewReader("0123456789"))
	b := a.newBody(w, r)
	if len(w.read) != 1 || !w.read[0].Equal(now.Add(80*time.Second)) {
		t.Fatalf("a body is not timed from its start: %v", w.read)
	}
	b.takeTime()
	b.pace.last = now
	var one [1]byte
	for range 9 {
		now = now.Add(5 * time.Second) // half an eighth: each second read moves the deadlines
		if _, err := b.Read(one[:]); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.read) != 5 || len(w.write) != 5 || !w.read[4].Equal(time.Unix(1040+80, 0)) {
		t.Fatalf("deadlines %v and %v", w.read, w.write)
	}
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	if last := w.read[len(w.read)-1]; !last.IsZero() {
		t.Errorf("a complete body still has the deadline %v", last)
	}
	if last := w.write[len(w.write)-1]; !last.IsZero() {
		t.Errorf("while the registry works, the answer has the deadline %v, and HTTP/2 resets a stream whose deadline passes", last)
	}
	now = now.Add(time.Minute)
	b.answer()
	if last := w.write[len(w.write)-1]; !last.Equal(now.Add(160 * time.Second)) {
		t.Errorf("the answer has until %v", last)
	}
	if last := w.read[len(w.read)-1]; !last.IsZero() {
		t.Errorf("the answer has the read deadline %v", last)
	}
}

func TestABodyThatDripsEndsUnlessItMayTakeItsTime(t *testing.T) {
	t.Parallel()
	begun := time.Unix(1000, 0)
	for _, c := range []struct {
		slow bool
		size int // bytes each 10 s
		want time.Duration
	}{{false, 1, time.Minute}, {false, leastRate, time.Minute + 64*time.Second}, {false, 20 * leastRate, 640*time.Second + time.Minute}, {true, 1, 640*time.Second + time.Minute}} {
		now := begun
		a := &API{clock: func() time.Time { return now }, patience: time.Minute}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		b := a.newBody(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader(strings.Repeat("x", 100*c.size))))
		if c.slow {
			b.takeTime()
		}
		for range 64 {
			now = now.Add(10 * time.Second)
			if _, err := io.ReadFull(b, make([]byte, c.size)); err != nil {
				t.Fatal(err)
			}
		}
		b.extend()
		if last := w.read[len(w.read)-1]; last.Before(begun.Add(c.want-2*time.Second)) || last.After(begun.Add(c.want+2*time.Second)) {
			t.Errorf("%d bytes each 10 s, slow %v: ends after %s, want %s", c.size, c.slow, last.Sub(begun), c.want)
		}
	}
}

func TestWithoutALimitOrAConnectionThereAreNoDeadlines(t *testing.T) {
	t.Parallel()
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	a := &API{clock: time.Now}
	if _, err := io.ReadAll(a.newBody(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("x")))); err != nil {
		t.Fatal(err)
	}
	if len(w.read)+len(w.write) != 0 {
		t.Errorf("deadlines %v and %v", w.read, w.write)
	}
	a.patience = time.Minute
	if _, err := io.ReadAll(a.newBody(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, "/", strings.NewReader("x")))); err != nil {
		t.Fatal(err)
	}
}
