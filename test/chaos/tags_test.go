package chaos

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// movedTags is how many tags are moved and read at the same time, each by two clients that move it and two that read it.
	movedTags = 2
	// moverPause is between two operations of a client, and moverRest after one that failed.
	moverPause = 40 * time.Millisecond
	moverRest  = 500 * time.Millisecond
)

// tagged is tags that are moved and read through all nodes, each with its history. A new one is begun with each fault, so that a history is short enough to be checked.
type tagged struct {
	epoch   time.Time
	name    string
	numbers atomic.Int64   // what the manifests of moves are numbered by
	under   sync.WaitGroup // operations under way

	mu        sync.Mutex
	digests   map[string]int // of the manifests, by number
	histories [movedTags][]porcupine.Operation
	strangers int // clients of operations that nobody saw the end of
}

var tagRounds atomic.Int64

func newTagged() *tagged {
	return &tagged{epoch: time.Now(), name: "moving-" + strconv.FormatInt(tagRounds.Add(1), 10), digests: map[string]int{}}
}

// move is an operation on a tag: it is set to a manifest (by number), or read.
type move struct {
	read bool
	to   int
}

// register is a tag as a model: its state is the number of the manifest that it points to, 0 while it is absent.
var register = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		in, isMove := input.(move)
		if !isMove {
			return false, state
		}
		if in.read {
			return output == state, state
		}
		return true, in.to
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v: %v", input, output)
	},
}

const movedRepo = "chaos/moved"

// config and layer of every moved image: the manifests differ by an annotation.
var movedConfig, movedLayer = []byte(`{"moved":true}`), []byte("moved")

// move moves or reads a tag again and again.
func (l *traffic) move(ctx context.Context, c *client, n int) {
	for _, blob := range [][]byte{movedConfig, movedLayer} {
		if c.pushBlob(ctx, movedRepo, blob) != nil {
			return
		}
	}
	for ctx.Err() == nil {
		l.mu.Lock()
		tags := l.tags
		tags.under.Add(1)
		l.mu.Unlock()
		which := (n / 4) % movedTags
		at := "/v2/" + movedRepo + "/manifests/" + tags.name + "-" + strconv.Itoa(which)
		var done bool
		if n%4 < 2 {
			done = l.set(ctx, c, tags, n, which, at)
		} else {
			done = l.look(ctx, c, tags, n, which, at)
		}
		tags.under.Done()
		if done {
			pause(ctx, moverPause)
		} else {
			pause(ctx, moverRest)
		}
	}
}

// set moves a tag, and reports whether that is known to have happened. Each attempt is an operation of its own: one that nobody saw the end of may take effect at any
// time after it was begun.
func (l *traffic) set(ctx context.Context, c *client, tags *tagged, n, which int, at string) bool {
	number := int(tags.numbers.Add(1))
	text := manifestOf(movedConfig, movedLayer, tags.name+" "+strconv.Itoa(number))
	tags.mu.Lock()
	tags.digests[digestOf(text)] = number
	tags.mu.Unlock()
	begun := time.Since(tags.epoch)
	_, err := c.once(ctx, http.MethodPut, c.any(), at, manifestType, text, http.StatusCreated)
	ended := time.Since(tags.epoch)
	var r *refused
	switch {
	case err == nil:
	case errors.As(err, &r) && !passing(err):
		l.seen.wrong(err)
		return false
	default:
		if ctx.Err() == nil {
			l.seen.retried(err)
		}
		ended = math.MaxInt64
	}
	tags.note(which, n, begun, ended, move{to: number}, nil)
	return err == nil
}

// look reads a tag, and reports whether an answer came.
func (l *traffic) look(ctx context.Context, c *client, tags *tagged, n, which int, at string) bool {
	begun := time.Since(tags.epoch)
	got, err := c.once(ctx, http.MethodGet, c.any(), at, "", nil, http.StatusOK, http.StatusNotFound)
	ended := time.Since(tags.epoch)
	if err != nil {
		if ctx.Err() == nil && !passing(err) {
			l.seen.wrong(err)
		}
		return false // a read that failed says nothing
	}
	number := 0
	if got.status == http.StatusOK {
		tags.mu.Lock()
		var known bool
		number, known = tags.digests[digestOf(got.text)]
		tags.mu.Unlock()
		if !known {
			l.seen.wrong(fmt.Errorf("GET %s: a manifest that nobody pushed: %s", at, got.text))
			return false
		}
	}
	tags.note(which, n, begun, ended, move{read: true}, number)
	return true
}

func (g *tagged) note(which, client int, begun, ended time.Duration, in move, out any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ended == math.MaxInt64 {
		g.strangers++
		client = movers + g.strangers
	}
	g.histories[which] = append(g.histories[which], porcupine.Operation{ClientId: client, Input: in, Call: int64(begun), Output: out, Return: int64(ended)})
}

// turn begins new tags and answers the old ones.
func (l *traffic) turn() *tagged {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.tags
	l.tags = newTagged()
	return old
}

// verdict is what the checker says of the histories of some tags.
type verdict struct {
	operations int
	unchecked  int      // histories that were too long to be checked
	illegal    []string // histories that no order explains
}

// check waits until the last operations are over, and asks whether each tag behaved as one register would.
func (g *tagged) check() verdict {
	g.under.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var v verdict
	for which, history := range g.histories {
		v.operations += len(history)
		switch porcupine.CheckOperationsTimeout(register, seen(history), time.Minute) {
		case porcupine.Illegal:
			v.illegal = append(v.illegal, fmt.Sprintf("tag %s-%d: %+v", g.name, which, history))
		case porcupine.Unknown:
			v.unchecked++
		case porcupine.Ok:
		}
	}
	return v
}

// seen leaves out the moves that have no end and that no read saw: they may have happened after everything else, and each doubles the work of the checker.
func seen(history []porcupine.Operation) []porcupine.Operation {
	read := map[any]bool{}
	for _, o := range history {
		read[o.Output] = true
	}
	return slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
		in, isMove := o.Input.(move)
		return isMove && !in.read && o.Return == math.MaxInt64 && !read[in.to]
	})
}
