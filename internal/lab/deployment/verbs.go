package deployment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// Request is what a verb is to be done to.
type Request struct {
	Names []string      `json:"names"`          // of parts, or of kinds of them; none: all
	Hang  time.Duration `json:"hang,omitempty"` // of kill: it stands still for so long, and is not killed
}

// Done is what a verb did, for people.
type Done struct {
	Text string `json:"text"`
}

// verb is something that can be done to parts.
type verb func(ctx context.Context, parts []*part, r Request) (string, error)

// kill ends parts at once, or lets them hang.
func (d *Deployment) kill(_ context.Context, parts []*part, r Request) (string, error) {
	for _, p := range parts {
		if r.Hang == 0 {
			p.kill()
		} else if err := p.hang(r.Hang); err != nil {
			return "", err
		}
	}
	if r.Hang > 0 {
		return fmt.Sprintf("%s: hangs for %s", list(parts), r.Hang), nil
	}
	return list(parts) + ": killed; `havn lab restart " + strings.Join(r.Names, " ") + "` starts it again", nil
}

// restart kills what runs, and starts it again.
func (d *Deployment) restart(ctx context.Context, parts []*part, _ Request) (string, error) {
	begun := time.Now()
	var ofGalera []*part
	for _, p := range parts {
		p.kill()
		if p.kind == Galera {
			ofGalera = append(ofGalera, p)
		}
	}
	if len(ofGalera) > 0 {
		if err := d.startGalera(ctx, ofGalera); err != nil {
			return "", err
		}
	}
	for _, p := range parts {
		if p.kind == Galera {
			continue
		}
		if err := p.start(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s: up after %.1f s", list(parts), time.Since(begun).Seconds()), nil
}

// startGalera starts nodes that are down, as an operator does: into the cluster if it has a quorum; else whoever is left begins anew, if nobody else could; and if nobody is left, all of them
// begin with the one that is furthest in its history.
func (d *Deployment) startGalera(ctx context.Context, parts []*part) error {
	var join, left []*lab.MariaDB
	var others []string
	primary := false
	for i, p := range d.parts[:len(d.galera.Nodes)] {
		m := d.galera.Nodes[i]
		switch {
		case slices.Contains(parts, p):
			join = append(join, m)
		case p.server.Running():
			left, others = append(left, m), append(others, p.name)
			if p.fit() {
				bounded, cancel := context.WithTimeout(ctx, checkTime)
				vitals, err := galeraVitals(bounded, m)
				cancel()
				primary = primary || err == nil && vitals["wsrep_cluster_status"] == "Primary"
			}
		}
	}
	var err error
	switch {
	case primary:
		for _, m := range join {
			if err = m.Start(ctx); err != nil {
				break
			}
		}
	case len(left) == 1:
		err = d.galera.BeginAnew(ctx, left[0], join...)
	case len(left) > 1:
		err = fail.E(fail.Conflict, nil, "%s run, and have no quorum", strings.Join(others, " and ")).Hint("`havn lab restart galera` begins the cluster anew; if they are cut off, `havn lab heal galera` may be enough")
	case len(join) == len(d.galera.Nodes):
		err = d.galera.Recover(ctx)
	default:
		err = fail.E(fail.Conflict, nil, "no node of Galera runs, and which one is furthest in its history is not known").Hint("`havn lab restart galera` looks at all of them")
	}
	if err != nil {
		return err
	}
	for _, p := range parts {
		p.started()
	}
	return nil
}

// partition cuts parts off from all others.
func (d *Deployment) partition(ctx context.Context, parts []*part, _ Request) (string, error) {
	if d.wall == nil {
		wall, err := lab.NewFirewall(ctx, table(d.o.Dir), d.groups()...)
		if err != nil {
			return "", err
		}
		d.wall = wall
	}
	if err := d.sever(ctx, parts, true); err != nil {
		return "", err
	}
	return list(parts) + ": cut off from everything else; `havn lab heal` mends it", nil
}

// heal mends what partition did.
func (d *Deployment) heal(ctx context.Context, parts []*part, _ Request) (string, error) {
	if d.wall != nil {
		if err := d.sever(ctx, parts, false); err != nil {
			return "", err
		}
	}
	if len(parts) == len(d.parts) {
		return "All parts are reachable.", nil
	}
	return list(parts) + ": reachable", nil
}

// sever cuts parts off, or not any more, beside those that are.
func (d *Deployment) sever(ctx context.Context, parts []*part, off bool) error {
	var rules []string
	severed := func(p *part) bool {
		if slices.Contains(parts, p) {
			return off
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.severed
	}
	for _, p := range d.parts {
		if severed(p) {
			rules = append(rules, p.packets(d.wall)...)
		}
	}
	if err := d.wall.Sever(ctx, rules...); err != nil {
		return err
	}
	for _, p := range parts {
		p.mu.Lock()
		p.severed = off
		p.mu.Unlock()
	}
	return nil
}

// keep begins again what ended by itself, as a service manager does. It does not wait for it: that may need what is still cut off, and heal would wait behind it.
func (d *Deployment) keep() {
	if !d.verbs.TryLock() {
		return
	}
	defer d.verbs.Unlock()
	for _, p := range d.parts {
		if !p.lost() {
			continue
		}
		d.say("%s ended by itself, and is started again: %s", p.name, p.server.Log())
		p.mu.Lock()
		p.again++
		p.mu.Unlock()
		if err := p.begin(); err != nil {
			d.say("%s does not start: %v", p.name, err)
		}
	}
}

// list names parts.
func list(parts []*part) string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}
