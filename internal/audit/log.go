package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// rhythm is how often what waits is written: a crash loses no more of pushes and pulls than that.
	rhythm = time.Second
	// mostWaiting bounds the lines in memory, some 8 MiB, while the database is slow or away.
	mostWaiting = 16384
	// atOnce bounds the rows of one statement: 10 values each, below what the engines take.
	atOnce = 256
	// lastFlush bounds the writing at the end of Run.
	lastFlush = 10 * time.Second
	// writeTime bounds a Write whose client is gone: as long as a transaction is tried again.
	writeTime = 20 * time.Second
	// newIDsMost is how often ids are drawn anew because another process has made one of them.
	newIDsMost = 5
)

// Options are what administrators may change while Havn runs.
type Options struct {
	Forward      string   // host:port, tcp://host:port or tls://host:port; "": nowhere
	SkipDatabase bool     // send on only
	SkipPulls    bool     // leave pulls out
	Disabled     []string // kinds of events that are left out, like pull_artifact: an operation, _ and a kind
}

// Config says what a Log works on.
type Config struct {
	DB      *sqldb.DB
	Log     *slog.Logger          // nil: discarded
	Clock   func() time.Time      // nil: the system's
	Metrics prometheus.Registerer // nil: none
	Options func() Options        // nil: the zero Options
	Syslog  Syslog
}

// Log takes lines. It is safe for concurrent use.
type Log struct {
	cfg     Config
	ids     *ids
	sender  *sender
	mu      sync.Mutex
	waiting []Line
	pulls   map[pull]pulled
	dropped prometheus.Counter
}

// New makes a log.
func New(c Config) *Log {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Options == nil {
		c.Options = func() Options { return Options{} }
	}
	l := &Log{cfg: c, ids: newIDs(), pulls: map[pull]pulled{}, dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_audit_lines_lost_total", Help: "Lines of the audit log that could not be written to the database."})}
	l.sender = newSender(c)
	if c.Metrics != nil {
		c.Metrics.MustRegister(l.dropped, l.sender.lost)
	}
	return l
}

// wanted reports whether a line is to be kept or sent at all.
func (o Options) wanted(l Line) bool {
	if o.SkipPulls && l.Operation == opPull {
		return false
	}
	return len(o.Disabled) == 0 || !slices.Contains(o.Disabled, l.Operation+"_"+l.Kind)
}

// Add takes a line that may be written a moment later: of what happens often, like pushes and pulls. It never waits for a store. What a crash, or a database that is away for long,
// takes is lost, and counted in the latter case.
func (l *Log) Add(line Line) {
	o := l.cfg.Options()
	if !o.wanted(line) {
		return
	}
	line = l.stamped(line)
	l.sender.send(o.Forward, line)
	if o.SkipDatabase {
		return
	}
	l.wait(line)
}

// wait keeps a line in memory until the next Flush, and reports whether there was room.
func (l *Log) wait(line Line) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= mostWaiting {
		l.dropped.Inc()
		return false
	}
	l.waiting = append(l.waiting, line)
	return true
}

// pull is who pulled what from where; pulled how often since the last line of it, and when last. One program may pull the same thousands of times in a second.
type pull struct {
	subject, project, name, ref string
	addr                        netip.Addr
}

type pulled struct {
	n  int
	at time.Time
}

// AddPull is Add for a pull of a manifest by ref, a tag or a digest. Those that are the same are one line a second.
func (l *Log) AddPull(subject, project, name, ref string, addr netip.Addr) {
	o := l.cfg.Options()
	if o.SkipPulls || o.SkipDatabase && o.Forward == "" || !o.wanted(Line{Operation: opPull, Kind: kindArtifact}) {
		return
	}
	key := pull{subject, project, name, ref, addr}
	now := l.cfg.Clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	before, known := l.pulls[key]
	if !known && len(l.pulls) >= mostWaiting {
		l.dropped.Inc()
		return
	}
	l.pulls[key] = pulled{before.n + 1, now}
}

// pullLines makes lines of the pulls since the last time.
func (l *Log) pullLines() {
	l.mu.Lock()
	pulls := l.pulls
	if len(pulls) > 0 {
		l.pulls = map[pull]pulled{}
	}
	l.mu.Unlock()
	for key, p := range pulls {
		sep := ":"
		if strings.Contains(key.ref, ":") {
			sep = "@"
		}
		line := Line{At: p.at, Subject: key.subject, Operation: opPull, Kind: kindArtifact, Resource: key.name + sep + key.ref, In: key.project, Addr: key.addr.String(), OK: true}
		if p.n > 1 {
			line.Note = strconv.Itoa(p.n) + " times"
		}
		l.Add(line)
	}
}

const (
	opPull       = "pull"
	kindArtifact = "artifact"
)

// Write keeps a line before it answers: of what administrators do. It goes on without the client: who hangs up at the right moment would be in no log. While the database does not take it,
// it waits in memory like those of Add; the error is that of a line that is lost.
func (l *Log) Write(ctx context.Context, line Line) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	o := l.cfg.Options()
	if !o.wanted(line) {
		return nil
	}
	line = l.stamped(line)
	l.sender.send(o.Forward, line)
	if o.SkipDatabase {
		return nil
	}
	one := []Line{line}
	err := l.insert(ctx, one)
	if err != nil && l.wait(one[0]) { // with its id, by which it is found if it was written after all
		l.cfg.Log.WarnContext(ctx, "a line of the audit log waits for the database", "error", err, "operation", line.Operation, "kind", line.Kind, "resource", line.Resource, "subject", line.Subject)
		return nil
	}
	return err
}

func (l *Log) stamped(line Line) Line {
	line = line.clean()
	if line.At.IsZero() {
		line.At = l.cfg.Clock()
	}
	return line
}

// Run writes and sends what waits until the context ends, and once more then.
func (l *Log) Run(ctx context.Context) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		l.sender.run(ctx)
	}()
	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			if err := l.Flush(last); err != nil {
				l.cfg.Log.WarnContext(last, "the last lines of the audit log are lost", "error", err)
			}
			<-sent
			return nil
		case <-tick.C:
		}
		err := l.Flush(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			l.cfg.Log.WarnContext(ctx, "audit log not written; its lines wait", "error", err)
		}
		failing = err != nil
	}
}

// Flush writes the lines that wait. After an error those that are not written wait on.
func (l *Log) Flush(ctx context.Context) error {
	l.pullLines()
	l.mu.Lock()
	lines := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for len(lines) > 0 {
		part := lines[:min(len(lines), atOnce)]
		if err := l.insert(ctx, part); err != nil {
			l.mu.Lock()
			l.waiting = append(lines, l.waiting...)
			l.mu.Unlock()
			return err
		}
		lines = lines[len(part):]
	}
	return nil
}

const columns = "id, at, subject, operation, kind, resource, project, addr, ok, note"

// insert writes lines under new ids, which are drawn before the transaction: if one of them is taken, by an earlier run whose outcome was not known or by another process, it is looked which. A line
// that is written is marked so, also where an error is answered.
func (l *Log) insert(ctx context.Context, lines []Line) error {
	err := l.number(ctx, lines)
	if err != nil {
		return err
	}
	for range newIDsMost {
		args := make([]any, 0, 10*len(lines))
		for i := range lines {
			n := &lines[i]
			if n.kept {
				continue
			}
			if n.ID == 0 {
				n.ID = l.ids.make(n.At)
			}
			args = append(args, n.ID, sqldb.Micros(n.At), n.Subject, n.Operation, n.Kind, n.Resource, n.Project, n.Addr, n.OK, n.Note)
		}
		if len(args) == 0 {
			return nil
		}
		err = l.cfg.DB.Tx(ctx, "audit.append", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(ctx, "INSERT INTO audit ("+columns+") VALUES "+strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ", len(args)/10-1)+"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", args...)
			return cause
		})
		if err == nil {
			for i := range lines {
				lines[i].kept = true
			}
			return nil
		}
		if !fail.Is(err, fail.Exists) {
			break
		}
		if lookErr := l.look(ctx, lines); lookErr != nil {
			return lookErr
		}
	}
	return fmt.Errorf("write the audit log: %w", err)
}

// look marks the lines that are in the database, and takes the ids away under which there are others.
func (l *Log) look(ctx context.Context, lines []Line) error {
	var ids []any
	for _, n := range lines {
		if !n.kept {
			ids = append(ids, n.ID)
		}
	}
	there := map[int64]Line{}
	for row, err := range l.cfg.DB.Rows(ctx, "SELECT id, at, subject, resource FROM audit WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...) {
		var n Line
		var at int64
		if err == nil {
			err = row.Scan(&n.ID, &at, &n.Subject, &n.Resource)
		}
		if err != nil {
			return fmt.Errorf("look what of the audit log is written: %w", err)
		}
		n.At = sqldb.FromMicros(at)
		there[n.ID] = n
	}
	for i := range lines {
		n := &lines[i]
		other, taken := there[n.ID]
		switch {
		case n.kept || !taken:
		case sqldb.Micros(other.At) == sqldb.Micros(n.At) && other.Subject == n.Subject && other.Resource == n.Resource:
			n.kept = true
		default:
			n.ID = 0
		}
	}
	return nil
}

// number looks up the projects that are named; those that are gone have none.
func (l *Log) number(ctx context.Context, lines []Line) error {
	var names []any
	for _, n := range lines {
		if n.Project == 0 && n.In != "" && !slices.Contains(names, any(n.In)) {
			names = append(names, n.In)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found := map[string]int64{}
	for row, err := range l.cfg.DB.Rows(ctx, "SELECT name, id FROM projects WHERE name IN (?"+strings.Repeat(", ?", len(names)-1)+")", names...) {
		var name string
		var id int64
		if err == nil {
			err = row.Scan(&name, &id)
		}
		if err != nil {
			return fmt.Errorf("find the projects of the audit log: %w", err)
		}
		found[name] = id
	}
	for i := range lines {
		if n := &lines[i]; n.Project == 0 {
			n.Project = found[n.In]
		}
	}
	return nil
}
