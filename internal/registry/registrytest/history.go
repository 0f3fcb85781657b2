package registrytest

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/havn-registry/havn/internal/fail"
)

// TagHistory is what clients did to one tag, and saw of it. Its methods are safe for concurrent use.
type TagHistory struct {
	epoch time.Time

	mu        sync.Mutex
	all       []porcupine.Operation
	strangers int // clients of moves that nobody saw the end of
}

// NewTagHistory begins a history of a tag that is absent.
func NewTagHistory() *TagHistory { return &TagHistory{epoch: time.Now()} }

// lost is the return of an operation that nobody saw the end of, and firstStranger the client of the first such.
const (
	lost          = math.MaxInt64
	firstStranger = 1 << 20
)

// move is an operation on a tag: it is set to a manifest (by number), or read.
type move struct {
	read bool
	to   int
}

// register is a tag as a model: its state is the number of the manifest that it points to, 0 if it is absent.
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

// Moved notes that a client, of a number of its own, moved the tag to a manifest (0: deleted it) between begun and now.
func (h *TagHistory) Moved(client int, begun time.Time, to int) {
	h.note(client, begun, time.Since(h.epoch), move{to: to}, nil)
}

// Lost notes a move of which nobody saw the end: it may take effect at any time after begun.
func (h *TagHistory) Lost(begun time.Time, to int) {
	h.mu.Lock()
	h.strangers++
	client := firstStranger + h.strangers
	h.mu.Unlock()
	h.note(client, begun, lost, move{to: to}, nil)
}

// Saw notes that a client found the tag at a manifest (0: absent) between begun and now.
func (h *TagHistory) Saw(client int, begun time.Time, found int) {
	h.note(client, begun, time.Since(h.epoch), move{read: true}, found)
}

func (h *TagHistory) note(client int, begun time.Time, end time.Duration, in move, out any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, porcupine.Operation{ClientId: client, Input: in, Call: int64(begun.Sub(h.epoch)), Output: out, Return: int64(end)})
}

// Len is how many operations there are.
func (h *TagHistory) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// Check asks whether the tag behaved as one register would: nil if some order of all operations explains what was seen. It is Internal if none does, and Unavailable if that
// could not be said within the limit.
func (h *TagHistory) Check(limit time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch porcupine.CheckOperationsTimeout(register, bounded(h.all), limit) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fail.E(fail.Unavailable, nil, "not decided within %s whether the history of the tag is linearizable: %+v", limit, h.all)
	default:
		return fail.E(fail.Internal, nil, "the history of the tag is not linearizable: %+v", h.all)
	}
}

// bounded answers a history that is linearizable if and only if the given one is, and that is quick to check: each move that nobody saw the end of doubles the checker's work. If no other move was to
// the same manifest, one that a read saw has happened by the end of the first such read, and one that no read saw may have happened after everything else: it is left out.
func bounded(history []porcupine.Operation) []porcupine.Operation {
	moves := map[int]int{}  // how many there are to a manifest
	seen := map[int]int64{} // until when a manifest was first seen
	for _, o := range history {
		in, isMove := o.Input.(move)
		number, isRead := o.Output.(int)
		switch end, found := seen[number]; {
		case isMove && !in.read:
			moves[in.to]++
		case isRead && (!found || o.Return < end):
			seen[number] = o.Return
		}
	}
	var all []porcupine.Operation
	for _, o := range history {
		if in, isMove := o.Input.(move); isMove && !in.read && o.Return == lost && in.to != 0 && moves[in.to] == 1 {
			end, found := seen[in.to]
			if !found {
				continue
			}
			o.Return = max(o.Call, end)
		}
		all = append(all, o)
	}
	return all
}
