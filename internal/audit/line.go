package audit

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// Line is one thing that somebody did, or was refused.
type Line struct {
	ID        int64 // given by the log; it rises with time
	At        time.Time
	Subject   string // user or robot; "" for a stranger
	Operation string // create, delete, update, pull, login…
	Kind      string // of the resource: artifact, project, member, robot…
	Resource  string // its name
	Project   int64  // its number; 0: none, or see In
	In        string // the project's name, where the number is not at hand: the log looks it up
	Addr      string // the client's
	OK        bool
	Note      string // what changed, for people; never a secret

	kept bool // it is in the database
}

// The lengths of the columns, in characters.
const (
	maxSubject   = 255
	maxOperation = 32
	maxKind      = 32
	maxResource  = 1024
	maxAddr      = 64
	maxNote      = 1024
)

// clean makes a line one that every engine takes and that can't break a log of lines: texts come from strangers.
func (l Line) clean() Line {
	l.Subject, l.Operation, l.Kind = printable(l.Subject, maxSubject), printable(l.Operation, maxOperation), printable(l.Kind, maxKind)
	l.Resource, l.Addr, l.Note = printable(l.Resource, maxResource), printable(l.Addr, maxAddr), printable(l.Note, maxNote)
	return l
}

// printable replaces what is no text, and cuts it at a number of characters.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return '�'
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most])
}

const (
	// epoch is the millisecond from which ids count, the beginning of 2020: an id stays below 2^53 until 2089, so that every JSON reader can hold it.
	epoch = 1577836800000
	// perMilli is how many ids a millisecond has; nodes begin at random places in it.
	perMilli = 1 << 12
)

// ids makes ids of one process: that two processes make the same is unlikely, and noticed when they are inserted.
type ids struct{ next atomic.Int64 }

func newIDs() *ids {
	i := &ids{}
	i.next.Store(rand.Int64N(perMilli)) //nolint:forbidigo // spreads processes; nothing rests on it
	return i
}

func (i *ids) make(at time.Time) int64 {
	return max(0, at.UnixMilli()-epoch)*perMilli + i.next.Add(1)%perMilli
}
