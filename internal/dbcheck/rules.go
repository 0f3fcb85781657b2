package dbcheck

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// meetTime is how long a transaction waits for the other to be as far. On one server the second may wait for a row of the first, and never gets there.
	meetTime = 300 * time.Millisecond
	// roundTime bounds one round.
	roundTime = time.Minute
	// alone is how many rounds are tried where there is one server: each takes meetTime.
	alone = 5
)

// side is one of two transactions that meet: it answers whether it did what it wanted, or found that it may not.
type side func(ctx context.Context, tx *sqldb.Tx, id int64) (did bool, err error)

// rule is a pair of transactions of which exactly one may do what it wants.
type rule struct {
	name  string
	setup []string // statements; ? is the round's id
	a, b  side
}

// wants is a side that wants its one statement to match a row.
func (k *checker) wants(statement string, args int) side {
	return func(ctx context.Context, tx *sqldb.Tx, id int64) (bool, error) {
		n, err := tx.Exec(ctx, k.t(statement), repeat(id, args)...)
		return n == 1, err
	}
}

func repeat(id int64, n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = id
	}
	return all
}

// all are the rules of the registry's transactions: docs/architecture.md, "Several nodes".
func (k *checker) all() []rule {
	const (
		parent = "INSERT INTO $_parent (id) VALUES (?)"
		child  = "INSERT INTO $_child (id, parent, n) VALUES (?, NULL, 1)"
	)
	take := func(ctx context.Context, tx *sqldb.Tx, id int64) (bool, error) {
		return tx.InsertIgnore(ctx, k.prefix+"_child", []string{"id", "parent", "n"}, id, nil, 1)
	}
	claim := k.wants("UPDATE $_child SET n = n + 1 WHERE id = ? AND n = 1", 1)
	return []rule{
		{"a row is referred to, and deleted", []string{parent}, k.wants("INSERT INTO $_child (id, parent, n) VALUES (?, ?, 1)", 2), k.wants("DELETE FROM $_parent WHERE id = ?", 1)},
		{"a reference is moved to a row, and the row is deleted", []string{parent, child}, k.wants("UPDATE $_child SET parent = ? WHERE id = ?", 2), k.wants("DELETE FROM $_parent WHERE id = ?", 1)},
		{"two take one claim", []string{child}, claim, claim},
		{"a row is changed, and deleted as it was seen", []string{child}, claim, k.wants("DELETE FROM $_child WHERE id = ? AND n = 1", 1)},
		{"two insert one key", nil, take, take},
	}
}

// rules tries each rule on two servers, at the moment at which both transactions have run and neither is committed.
func (k *checker) rules(ctx context.Context) {
	rounds := k.rounds
	if len(k.servers) == 1 {
		rounds = min(rounds, alone)
	}
	for _, r := range k.all() {
		broken, none, refused := 0, 0, 0
		for round := range rounds {
			did, runs, err := k.meet(ctx, r, round)
			if err != nil {
				k.wrong("", err, r.name)
				return
			}
			switch {
			case did > 1:
				broken++
			case did == 0:
				none++
			}
			if runs > 2 {
				refused++
			}
		}
		if broken > 0 {
			k.bad("", "don't run Havn on this database: it would lose what it acknowledged. Is it one cluster? Does something in between answer for it?", "%s: both succeeded in %d of %d rounds", r.name, broken, rounds)
			continue
		}
		if none > 0 {
			// One whose commit's outcome was lost is run again, and takes its own row for the other's.
			k.found = append(k.found, Finding{sqldb.Finding{Minor: true, What: fmt.Sprintf("%s: neither succeeded in %d of %d rounds", r.name, none, rounds), Hint: "were connections lost meanwhile? Check again when it is quiet"}, ""})
			continue
		}
		k.good("", "%s: exactly one of both succeeded, in %d rounds (%d were refused and run again)", r.name, rounds, refused)
	}
}

// meet runs a round, and answers how many of both did what they wanted, and how often they were run.
func (k *checker) meet(ctx context.Context, r rule, round int) (did, runs int, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	a, b := k.pair(round)
	id := sqldb.NewID()
	for _, statement := range r.setup {
		if err = insert(ctx, a, k.t(statement), id); err != nil {
			return 0, 0, err
		}
	}
	var wg sync.WaitGroup
	here, there := make(chan struct{}), make(chan struct{})
	var first, second attempt
	wg.Go(func() { first.run(ctx, a, r.a, id, here, there) })
	wg.Go(func() { second.run(ctx, b, r.b, id, there, here) })
	wg.Wait()
	for _, t := range []*attempt{&first, &second} {
		if t.err != nil {
			return 0, 0, t.err
		}
		if t.did {
			did++
		}
	}
	return did, first.runs + second.runs, nil
}

// attempt is one side's transaction, and what came of it.
type attempt struct {
	did  bool
	runs int
	err  error
}

// run runs the side, says that it got so far, and waits for the other before it commits, once.
func (t *attempt) run(ctx context.Context, db *sqldb.DB, s side, id int64, here chan<- struct{}, there <-chan struct{}) {
	var once sync.Once
	err := db.Tx(ctx, "check.meet", func(tx *sqldb.Tx) error {
		t.runs++
		var err error
		if t.did, err = s(ctx, tx, id); err != nil {
			return err
		}
		once.Do(func() {
			close(here)
			wait := time.NewTimer(meetTime)
			defer wait.Stop()
			select {
			case <-there:
			case <-wait.C:
			case <-ctx.Done():
			}
		})
		return nil
	})
	if fail.Is(err, fail.Conflict) || fail.Is(err, fail.Exists) {
		t.did, err = false, nil
	}
	t.err = err
}
