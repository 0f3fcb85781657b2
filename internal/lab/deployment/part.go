package deployment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// checkTime bounds the question to one part.
const checkTime = 3 * time.Second

// The states of a part.
const (
	Up     = "up"
	Down   = "down"
	Hangs  = "hangs"
	CutOff = "cut off"
	Unwell = "unwell" // it runs, and does not do its work
)

// server is a process of a lab.
type server interface {
	Start(ctx context.Context) error
	Kill()
	Pause() error
	Resume() error
	Running() bool
	Log() string
}

// part is one server of the deployment.
type part struct {
	name, kind, addr string
	server           server
	// check answers what is worth knowing of a server that does its work.
	check func(ctx context.Context) (string, error)
	// packets answers rules that match all packets from and to the server.
	packets func(w *lab.Firewall) []string
	// begin starts the server and does not wait for it: it is begun again when it ends by itself, as a service manager does. nil: it stays down.
	begin func() error

	mu      sync.Mutex
	killed  bool
	severed bool
	hangs   *time.Timer // nil: it does not
	until   time.Time   // that it hangs
	again   int         // times that it was started again after it ended by itself
}

// PartStatus is how one part is.
type PartStatus struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Addr  string `json:"addr"`
	State string `json:"state"`
	Note  string `json:"note,omitempty"`
	Log   string `json:"log"`
}

// look asks the part how it is.
func (p *part) look(ctx context.Context) PartStatus {
	p.mu.Lock()
	killed, severed, hangs, until, again := p.killed, p.severed, p.hangs != nil, p.until, p.again
	p.mu.Unlock()
	s := PartStatus{Name: p.name, Kind: p.kind, Addr: p.addr, Log: p.server.Log()}
	switch {
	case !p.server.Running() && killed:
		s.State, s.Note = Down, "killed"
	case !p.server.Running():
		s.State, s.Note = Down, "ended by itself: see its log"
	case hangs:
		s.State, s.Note = Hangs, "until "+until.UTC().Format(time.TimeOnly)
	case severed:
		s.State = CutOff
	default:
		bounded, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		note, err := p.check(bounded)
		s.State, s.Note = Up, note
		if err != nil {
			s.State, s.Note = Unwell, err.Error()
		}
	}
	if again > 0 {
		s.Note = strings.TrimPrefix(fmt.Sprintf("%s, times it ended by itself and was started again: %d", s.Note, again), ", ")
	}
	return s
}

// kill ends the server at once.
func (p *part) kill() {
	p.mu.Lock()
	p.killed = true
	p.wake()
	p.mu.Unlock()
	p.server.Kill()
}

// hang lets the server stand still for a time.
func (p *part) hang(d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.server.Running() {
		return fail.E(fail.Conflict, nil, "%s does not run", p.name).Hint("`havn lab restart %s` starts it", p.name)
	}
	if err := p.server.Pause(); err != nil {
		return err
	}
	p.wake()
	p.until = time.Now().Add(d)
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.hangs != own { // it was killed, or hangs anew
			return
		}
		p.hangs = nil
		if err := p.server.Resume(); err != nil {
			panic(err) // only if the process were not ours
		}
	})
	p.hangs = own
	return nil
}

// wake forgets that the server hangs; the caller sees to it, under the lock.
func (p *part) wake() {
	if p.hangs != nil {
		p.hangs.Stop()
		p.hangs = nil
	}
}

// start starts a server that is down.
func (p *part) start(ctx context.Context) error {
	if err := p.server.Start(ctx); err != nil {
		return err
	}
	p.started()
	return nil
}

func (p *part) started() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = false
}

// lost reports whether a server that is kept ended by itself.
func (p *part) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begin != nil && !p.killed && !p.server.Running()
}

// fit reports whether the server runs and can be reached.
func (p *part) fit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server.Running() && p.hangs == nil && !p.severed
}

// named answers the parts of these names; the name of a kind means all of that kind, and no names all parts. The order is that of the deployment.
func (d *Deployment) named(names []string) ([]*part, error) {
	if len(names) == 0 {
		return d.parts, nil
	}
	wanted := map[*part]bool{}
	for _, name := range names {
		found := false
		for _, p := range d.parts {
			if p.name == name || p.kind == name {
				wanted[p], found = true, true
			}
		}
		if !found {
			var all []string
			for _, p := range d.parts {
				if !slices.Contains(all, p.kind) {
					all = append(all, p.kind)
				}
				if p.name != p.kind {
					all = append(all, p.name)
				}
			}
			return nil, fail.E(fail.NotFound, nil, "no part of the lab is called %q", name).Hint("there are %s", strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(d.parts), func(p *part) bool { return !wanted[p] }), nil
}
