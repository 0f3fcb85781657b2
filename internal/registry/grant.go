package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// defaultSlice is what a node takes of a quota beyond what it needs now, if there is plenty: pushes of images of usual size then take from it without a transaction.
	defaultSlice = 64 << 20
	// plenty: no more than this part of what is left is taken in advance, so that a quota that is nearly used up is not held by those who do not use it.
	plenty           = 16
	defaultQuotaIdle = time.Second
	// askAgain and askTime: how often, and for how long, a push that finds a quota used up looks whether another node gave back what it did not use.
	askAgain = 200 * time.Millisecond
	askTime  = 3 * time.Second
	// growTries bounds the tries to take from a quota that others take from at the same moment.
	growTries = 20
)

// grants are the slices of quotas that this node gives out: promises to pushes under way, which cost no transaction. What was promised and used is counted against its slice in the push's own transaction.
type grants struct {
	mu     sync.Mutex
	all    map[int64]*grant    // by project
	strays map[int64]time.Time // slices that are to be given back, and until when each may still come to be there
	names  map[string]int64    // projects that were seen to have a quota
}

// grant is the slice of one quota. What the database knows is never less: bytes whose fate is not known count as used here.
type grant struct {
	project int64

	growing sync.Mutex // held by the one who takes more of the quota

	mu       sync.Mutex
	slice    int64 // 0: none
	left     int64 // bytes that are not promised
	promised int64 // bytes that pushes under way may use
	unsure   int64 // bytes of pushes of which nobody knows whether they were committed
	spent    int   // things counted against the slice since it was folded last
	idle     time.Time
}

func (g *grants) of(project int64) *grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all[project] == nil {
		if g.all == nil {
			g.all = map[int64]*grant{}
		}
		g.all[project] = &grant{project: project}
	}
	return g.all[project]
}

func (g *grants) list() []*grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*grant, 0, len(g.all))
	for _, one := range g.all {
		all = append(all, one)
	}
	return all
}

// promise lets a push use n bytes of a slice; false: it has not so much left, or is not the one that is there.
func (g *grant) promise(slice, n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slice == 0 || slice != g.slice || g.left < n {
		return false
	}
	g.left -= n
	g.promised += n
	return true
}

// has reports what is left, and of which slice.
func (g *grant) has() (slice, left int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.slice, g.left
}

// add notes that more of the quota was taken: for a slice that is new, or the one that is there.
func (g *grant) add(slice, n int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slice == 0 {
		g.slice = slice
	}
	if g.slice == slice {
		g.left += n
		g.idle = now
	}
}

// forget is for those who hold mu.
func (g *grant) forget() { g.slice, g.left, g.promised, g.unsure, g.spent = 0, 0, 0, 0, 0 }

// fate is what became of bytes that were promised.
type fate int

const (
	unused fate = iota
	used        // they are counted against the slice
	unsure      // they may be
)

// settle takes a promise of a slice back.
func (g *grant) settle(slice, promised int64, f fate, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slice != g.slice {
		return
	}
	g.promised -= promised
	switch f {
	case unused:
		g.left += promised
	case used:
		g.spent++
	case unsure:
		g.spent++
		g.unsure += promised
	}
	g.idle = now
}

// lost forgets a slice that is not there any more: this node was taken for dead.
func (g *grant) lost(slice int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slice == slice {
		g.forget()
	}
}

// end answers a slice of which nothing is promised since a time, and forgets it; 0: there is none. always: whatever is promised.
func (g *grant) end(before time.Time, always bool) int64 {
	if !g.growing.TryLock() {
		return 0
	}
	defer g.growing.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slice == 0 || !always && (g.promised > 0 || g.idle.After(before)) {
		return 0
	}
	slice := g.slice
	g.forget()
	return slice
}

// trim answers the slice, and what of it must be kept, if something was counted against it since it was folded last, or more than most is left of it, else 0. No more than most is left of it then. It is for
// those who hold growing: what is taken meanwhile would not be kept.
func (g *grant) trim(most int64) (slice, keep int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slice == 0 || g.spent == 0 && g.left <= most {
		return 0, 0
	}
	g.spent, g.left = 0, min(g.left, most)
	return g.slice, g.left + g.promised + g.unsure
}

// squeeze answers the slice, and what is promised of it and must be kept, if something was counted against it since it was folded last, else 0. Nothing is left of it then.
func (g *grant) squeeze() (slice, keep int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slice == 0 || g.spent == 0 {
		return 0, 0
	}
	g.spent, g.left = 0, 0
	return g.slice, g.promised + g.unsure
}

// errFull says that a quota has not so much left.
var errFull = errors.New("the quota is used up")

// errTaken says that others took of a quota, or took this node's slice, since it was looked at.
var errTaken = errors.New("the quota changed")

// grow takes more of a quota, so that the slice has n bytes left. NotFound: there is no quota. errFull: it has not so much left.
//
// One relaxed transaction: a crash leaves a slice that is given back when the node is known to be dead.
func (r *Registry) grow(ctx context.Context, g *grant, n int64) error {
	g.growing.Lock()
	defer g.growing.Unlock()
	for range growTries {
		slice, left := g.has()
		if slice != 0 && left >= n {
			return nil // another push took it meanwhile
		}
		short := n - left
		q, err := r.findQuota(ctx, g.project)
		if err != nil {
			return err
		}
		if q.Limit-q.Held < short {
			// What was counted against the slice, and was deleted since, is the quota's again when the slice is folded.
			if full, keep := g.squeeze(); full != 0 {
				if err = r.fold(ctx, full, rest{keep: keep}); err != nil {
					return err
				}
				continue
			}
			return errFull
		}
		// What is taken is settled before the transaction: one that ran more often than once took it once. Of a quota that is switched off nothing is taken in advance: it would be used when the
		// quota holds again.
		give := short
		if !r.cfg.QuotasOff() {
			give += max(0, min(r.cfg.QuotaSlice, (q.Limit-q.Held-short)/plenty))
		}
		if slice, err = r.takeQuota(ctx, g.project, slice, give); errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return err
		}
		g.add(slice, give, r.cfg.Clock())
		return nil
	}
	return fail.E(fail.Unavailable, nil, "the quota is taken from all the time").RetryAfter(busyRetry)
}

// takeQuota takes bytes of a quota for a slice, or for a new one if that is 0.
func (r *Registry) takeQuota(ctx context.Context, project, slice, n int64) (int64, error) {
	op, fresh := sqldb.NewToken(), slice == 0
	if fresh {
		slice = sqldb.NewID()
	}
	err := r.keyedRelaxed(ctx, "quota.take", func(tx *sqldb.Tx) error {
		mine, err := index.ClaimOp(ctx, tx, op, micros(tx.Now()))
		if err != nil || !mine {
			return err // not mine: an earlier run was committed
		}
		held, err := r.holdBytes(ctx, tx, project, n)
		if err != nil {
			return err
		}
		if held == 0 {
			return errTaken
		}
		if fresh {
			return index.InsertSlice(ctx, tx, index.Slice{ID: slice, Project: project, Bytes: n}, r.cfg.NodeID)
		}
		grown, err := index.GrowSlice(ctx, tx, slice, n)
		if err == nil && grown == 0 {
			r.grants.of(project).lost(slice)
			err = errTaken
		}
		return err
	})
	if fresh && fail.Is(err, fail.Unavailable) {
		r.grants.stray(slice, r.cfg.Clock().Add(strayTime)) // it may be there, or come
	}
	return slice, err
}

// strayTime is longer than any database takes that hung with a COMMIT until it is applied or given up.
const strayTime = 10 * time.Minute

// stray notes a slice that nobody uses and that may be there, or come to be there until a time.
func (g *grants) stray(slice int64, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.strays == nil {
		g.strays = map[int64]time.Time{}
	}
	g.strays[slice] = until
}

// purse is what one push may use of a quota. It is not safe for concurrent use.
type purse struct {
	r       *Registry
	name    string // of the project, if that is to be remembered as one with a quota
	project int64  // 0: without a quota
	slice   int64
	n       int64 // bytes, all of one slice
}

func (r *Registry) purse(project int64) purse { return purse{r: r, project: project} }

// likelyPurse answers a purse with n bytes for a push to a repository whose project was seen to have a quota, if this node has them at hand. What a push really needs is found in its transaction: see afford.
func (r *Registry) likelyPurse(name oci.Name, n int64) purse {
	p := r.purse(r.grants.known(name.Project()))
	p.name = name.Project()
	if p.project == 0 {
		return p
	}
	g := r.grants.of(p.project)
	if slice, _ := g.has(); g.promise(slice, n) {
		p.slice, p.n = slice, n
	}
	return p
}

// maxKnown bounds the names of projects with a quota that are remembered.
const maxKnown = 10_000

// known answers the number of a project that was seen to have a quota, else 0.
func (g *grants) known(name string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.names[name]
}

func (g *grants) know(name string, project int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names == nil || len(g.names) >= maxKnown {
		g.names = map[string]int64{}
	}
	g.names[name] = project
}

// fill makes sure that the push may use n bytes. Denied if the quota has not so much left. Where the project has no quota any more, the purse becomes one without.
func (p *purse) fill(ctx context.Context, n int64) error {
	for asked := time.Duration(0); ; {
		err := p.try(ctx, n)
		if !errors.Is(err, errFull) {
			return err
		}
		if err = p.wait(ctx, n-p.n, &asked); err != nil {
			return err
		}
	}
}

// try is fill, and answers errFull at once if the quota has not so much left.
func (p *purse) try(ctx context.Context, n int64) error {
	if p.project == 0 || n <= p.n {
		return nil
	}
	g := p.r.grants.of(p.project)
	for {
		if slice, _ := g.has(); slice != p.slice {
			p.slice, p.n = slice, 0 // what it had is gone with its slice
		}
		if g.promise(p.slice, n-p.n) {
			p.n = n
			return nil
		}
		err := p.r.grow(ctx, g, n-p.n)
		if fail.Is(err, fail.NotFound) {
			p.empty()
			p.project = 0
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// stretch is fill for a body whose length is not known: up to most bytes, half of what is left if that is less, and least in any case. It answers how many the push may use.
func (p *purse) stretch(ctx context.Context, least, most int64) (int64, error) {
	err := p.try(ctx, most)
	if errors.Is(err, errFull) {
		var left int64
		if left, err = p.r.leftOf(ctx, p.project); err == nil {
			n := min(most, p.n+max(left/2, min(left, smallPart)))
			if err = errFull; n >= least {
				err = p.try(ctx, n)
			}
		}
	}
	if errors.Is(err, errFull) {
		err = p.fill(ctx, least)
	}
	if p.project == 0 {
		return most, err
	}
	return p.n, err
}

// smallPart is what is not divided any more: a body takes all that is left.
const smallPart = 4 << 10

// leftOf answers how much of a quota may still be promised on this node.
func (r *Registry) leftOf(ctx context.Context, project int64) (int64, error) {
	_, own := r.grants.of(project).has()
	q, err := r.findQuota(ctx, project)
	return max(0, own+q.Limit-q.Held), absentIsFine(err)
}

// farOff is the limit of a quota that is switched off: so far from what is held that nothing reaches it, and that sums of both can be written.
const farOff = math.MaxInt64 / 4

// findQuota answers the quota of a project as it counts now.
func (r *Registry) findQuota(ctx context.Context, project int64) (index.Quota, error) {
	q, err := index.FindQuota(ctx, r.db, project)
	if err == nil && r.cfg.QuotasOff() {
		q.Limit = q.Held + farOff
	}
	return q, err
}

// holdBytes takes bytes of a quota, if it has so many left or is switched off. 0 rows: it has not, or there is none.
func (r *Registry) holdBytes(ctx context.Context, tx *sqldb.Tx, project, n int64) (int64, error) {
	if r.cfg.QuotasOff() {
		return index.HoldBeyond(ctx, tx, project, n)
	}
	return index.HoldBytes(ctx, tx, project, n)
}

// wait waits a little, if other nodes have slices of a quota of which they may give something back, or answers that the quota has no n bytes left.
func (p *purse) wait(ctx context.Context, n int64, asked *time.Duration) error {
	own, _ := p.r.grants.of(p.project).has()
	others, err := index.OtherSlices(ctx, p.r.db, p.project, own)
	if err != nil {
		return fmt.Errorf("look at the quota of project %d: %w", p.project, err)
	}
	if !others || *asked >= askTime {
		return p.r.quotaExceeded(ctx, p.project, n)
	}
	*asked += askAgain
	timer := time.NewTimer(askAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fail.E(fail.Unavailable, ctx.Err(), "wait for the quota of project %d", p.project)
	}
}

// quotaExceeded says how much a project has, and may have. Its words are those by which clients and people know what happened.
func (r *Registry) quotaExceeded(ctx context.Context, project, n int64) error {
	u, err := index.FindUsage(ctx, r.db, project)
	if err != nil {
		return fmt.Errorf("look at the quota of project %d: %w", project, err)
	}
	return fail.E(fail.Denied, nil, "%s more in project %s will exceed the configured upper limit: %s of %s are used, and %s are promised to pushes under way", bytesText(n), u.Name, bytesText(u.Used), bytesText(u.Limit), bytesText(max(0, u.Held-u.Used))).
		Code(oci.CodeDenied).Hint("delete repositories that are not needed any more, or ask an administrator for a larger quota")
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<10), 0
	for f >= 1<<10 {
		f /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// spend notes what became of n bytes.
func (p *purse) spend(n int64, f fate) {
	if p.project == 0 || n == 0 {
		return
	}
	p.r.grants.of(p.project).settle(p.slice, n, f, p.r.cfg.Clock())
	p.n -= n
}

// counted spends n bytes for a transaction that ended with err, if that was committed, or may have been.
func (p *purse) counted(n int64, err error) {
	switch {
	case err == nil:
		p.spend(min(n, p.n), used)
	case fail.Is(err, fail.Unavailable):
		p.spend(min(n, p.n), unsure)
	}
}

// empty gives back what is not used.
func (p *purse) empty() { p.spend(p.n, unused) }
