package sweep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
)

// walk is a way over the store's list in many small parts. Where it stands is a note on the duty, so that a restart or another node goes on from there.
type walk struct {
	noted string    // what this process read or wrote last
	ended time.Time // when the last walk came to its end
	at    string    // the last name that was looked at; "" between two walks

	seen, deleted int // on this walk, by this process
}

// noteForm begins a note: "walk", when the last one ended in microseconds, and the name that this one came to.
const noteForm = "walk "

// read takes over where another process stood. What is not understood begins a new walk.
func (w *walk) read(note string, now time.Time) {
	if note == w.noted {
		return
	}
	*w = walk{noted: note}
	text, ok := strings.CutPrefix(note, noteForm)
	if !ok {
		return
	}
	ended, at, _ := strings.Cut(text, " ")
	micros, err := strconv.ParseInt(ended, 10, 64)
	if err != nil {
		return
	}
	if w.at = at; micros > 0 {
		w.ended = time.UnixMicro(micros)
	}
	if w.ended.After(now) { // another node's clock
		w.ended = now
	}
}

func (w *walk) write() string {
	micros := int64(0)
	if !w.ended.IsZero() {
		micros = w.ended.UnixMicro()
	}
	return noteForm + strconv.FormatInt(micros, 10) + " " + w.at
}

// look looks at a part of the store's list, once in OrphanEvery from its start to its end. The store is this database's: see holdStore.
func (s *Sweeper) look(ctx context.Context, claim *cluster.Claim, now time.Time) (deleted int, more bool, err error) {
	w := &s.walk
	w.read(claim.Note(), now)
	if s.OrphanEvery < 0 || w.at == "" && !w.ended.IsZero() && now.Sub(w.ended) < s.OrphanEvery {
		return 0, false, nil
	}
	found, err := s.Registry.SweepOrphans(ctx, w.at, now.Add(-s.OrphanAge), s.ListAtOnce)
	w.seen, w.deleted = w.seen+found.Seen, w.deleted+found.Deleted
	// An object that can't be deleted is passed over: the next walk comes to it again.
	if w.at = found.Last; found.Done {
		s.Log.InfoContext(ctx, "looked through the blob store for objects without rows", "objects", w.seen, "deleted", w.deleted)
		w.ended, w.seen, w.deleted = now, 0, 0
	}
	noteErr := claim.SetNote(ctx, w.write())
	switch {
	case noteErr == nil:
		w.noted = claim.Note()
	case !fail.Is(noteErr, fail.TooLarge): // a long name of somebody else's: noted at the next stop
		return found.Deleted, false, errors.Join(err, fmt.Errorf("note where the walk stands: %w", noteErr))
	}
	return found.Deleted, !found.Done, err
}
