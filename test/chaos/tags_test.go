package chaos

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/havn-registry/havn/test/request"
)

const (
	// movedTags is how many tags are moved and read at the same time, each by two clients that move it and two that read it.
	movedTags = 3
	movers    = 4 * movedTags
	// moverPause is between two operations of a client, and moverRest after one that failed.
	moverPause = 150 * time.Millisecond
	moverRest  = 500 * time.Millisecond
	// checkTime is what the checker gets for one history: it takes milliseconds, as a rule.
	checkTime = 20 * time.Second
)

// tagged is tags that are moved and read through all nodes, each with its history. They live for one fault, from the end of the one before: so a node that was away must know what
// it missed, and a history is short enough to be checked.
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
	for _, data := range [][]byte{movedConfig, movedLayer} {
		if c.pushBlob(ctx, movedRepo, data) != nil {
			return
		}
	}
	for ctx.Err() == nil {
		l.mu.Lock()
		tags := l.tags
		tags.under.Add(1)
		l.mu.Unlock()
		which := (n / 4) % movedTags
		var done bool
		if n%4 < 2 {
			done = l.set(ctx, c, tags, n, which)
		} else {
			err := l.look(ctx, c, tags, n, which, "")
			if done = err == nil; !done && ctx.Err() == nil && !request.Passes(err) {
				l.seen.wrong(err)
			}
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
func (l *traffic) set(ctx context.Context, c *client, tags *tagged, n, which int) bool {
	number := int(tags.numbers.Add(1))
	text := request.Image(tags.name+" "+strconv.Itoa(number), movedConfig, movedLayer)
	tags.mu.Lock()
	tags.digests[request.Digest(text)] = number
	tags.mu.Unlock()
	begun := time.Since(tags.epoch)
	_, err := c.once(ctx, http.MethodPut, "", tags.path(which), request.Manifest, text, http.StatusCreated)
	ended := time.Since(tags.epoch)
	switch {
	case err == nil:
	case !request.Passes(err):
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

// look reads a tag, through one node or any. A read that fails says nothing of the tag.
func (l *traffic) look(ctx context.Context, c *client, tags *tagged, n, which int, node string) error {
	begun := time.Since(tags.epoch)
	got, err := c.once(ctx, http.MethodGet, node, tags.path(which), "", nil, http.StatusOK, http.StatusNotFound)
	ended := time.Since(tags.epoch)
	if err != nil {
		return err
	}
	number := 0
	if got.Status == http.StatusOK {
		tags.mu.Lock()
		var known bool
		number, known = tags.digests[request.Digest(got.Text)]
		tags.mu.Unlock()
		if !known {
			return &request.Refused{Request: "a manifest that nobody pushed: GET " + tags.path(which), Answer: got}
		}
	}
	tags.note(which, n, begun, ended, move{read: true}, number)
	return nil
}

func (g *tagged) path(which int) string {
	return "/v2/" + movedRepo + "/manifests/" + g.name + "-" + strconv.Itoa(which)
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

// last reads the old tags once more through each node, when all operations on them have ended: so all nodes must agree. A node may end only now, that learns so late that it was
// declared dead.
func (l *traffic) last(t *testing.T, tags *tagged) {
	t.Helper()
	tags.under.Wait()
	c := newClient(l.d, l.seen)
	defer c.http.CloseIdleConnections()
	for which := range movedTags {
		for _, node := range l.d.urls {
			for deadline := time.Now().Add(patience); ; pause(t.Context(), retryPause) {
				err := l.look(t.Context(), c, tags, movers, which, node)
				if err == nil {
					break
				}
				if !request.Passes(err) || time.Now().After(deadline) {
					l.seen.wrong(fmt.Errorf("after all: %w", err))
					return
				}
				l.d.supervise(t)
			}
		}
	}
}

// verdict is what the checker says of the histories of some tags.
type verdict struct {
	operations int
	checked    int
	unchecked  []string // histories that took the checker too long
	illegal    []string // histories that no order explains
}

// check asks whether each tag behaved as one register would.
func (g *tagged) check() verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	var v verdict
	for which, history := range g.histories {
		v.operations += len(history)
		text := fmt.Sprintf("tag %s-%d: %+v", g.name, which, history)
		switch porcupine.CheckOperationsTimeout(register, bounded(history), checkTime) {
		case porcupine.Illegal:
			v.illegal = append(v.illegal, text)
			v.checked++
		case porcupine.Unknown:
			v.unchecked = append(v.unchecked, text)
		case porcupine.Ok:
			v.checked++
		}
	}
	return v
}

// bounded answers a history that is linearizable if and only if the given one is, and that is quick to check: each move that nobody saw the end of doubles the checker's work. No two moves are to
// the same manifest, so one that a read saw has happened by the end of the first such read. One that no read saw may have happened after everything else, and is left out.
func bounded(history []porcupine.Operation) []porcupine.Operation {
	read := map[int]int64{} // until when a move to a manifest was seen
	for _, o := range history {
		if number, isRead := o.Output.(int); isRead {
			if end, found := read[number]; !found || o.Return < end {
				read[number] = o.Return
			}
		}
	}
	var all []porcupine.Operation
	for _, o := range history {
		if in, isMove := o.Input.(move); isMove && !in.read && o.Return == math.MaxInt64 {
			end, found := read[in.to]
			if !found {
				continue
			}
			o.Return = max(o.Call, end)
		}
		all = append(all, o)
	}
	return all
}
