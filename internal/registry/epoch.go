package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// codeEpoch is the code of the Conflict that says that the blob store is not this database's to delete from.
const codeEpoch = "epoch"

// confirmed follows the token of an epoch that an operator began: nobody contests it.
const confirmed = "confirmed"

// Epoch is what a database knows of its use of the blob store. Copies of a database have the same id, so each begins one epoch after the other, in the store and in itself, under a token that it draws
// then: of two copies one is left behind by the other's epochs, or both want to begin the same one. See DESIGN.md.
type Epoch struct {
	N     int64  `json:"n"` // 0: none was begun
	Token string `json:"token,omitempty"`
	// Next is the epoch that is being begun, under NextToken; 0: none.
	Next      int64  `json:"next,omitempty"`
	NextToken string `json:"next_token,omitempty"`
	// Lost says why the store is not this database's, as long as nobody confirms that it is. Contest is the epoch of the other copy that is yet to be contested; 0: none.
	Lost    string `json:"lost,omitempty"`
	Contest int64  `json:"contest,omitempty"`

	raw string
}

// StoredEpoch reads what a database knows of its epoch.
func StoredEpoch(ctx context.Context, q sqldb.Querier) (Epoch, error) {
	raw, err := index.StoreEpoch(ctx, q)
	if err != nil {
		return Epoch{}, fmt.Errorf("read the epoch of the blob store: %w", err)
	}
	e := Epoch{raw: raw}
	if raw == "" {
		return e, nil
	}
	if err = json.Unmarshal([]byte(raw), &e); err != nil {
		return Epoch{}, fail.E(fail.Internal, err, "the epoch of the blob store is written down as %.200q", raw)
	}
	return e, nil
}

// CheckEpoch looks whether the store is still this database's: Conflict, with the code epoch, if it is not. Nothing is changed.
func CheckEpoch(ctx context.Context, q sqldb.Querier, store *blob.Store) error {
	e, err := StoredEpoch(ctx, q)
	for range looksAtOthers {
		if err != nil {
			return err
		}
		lost, _, judgeErr := e.judge(ctx, store)
		if judgeErr != nil || lost == "" {
			return judgeErr
		}
		// The next epoch may have begun between the look at the database and that at the store.
		seen := e.raw
		if e, err = StoredEpoch(ctx, q); err == nil && e.raw == seen {
			return refusal(lost)
		}
	}
	return fail.E(fail.Unavailable, err, "the epoch of the blob store changes all the time").RetryAfter(busyRetry)
}

func refusal(why string) error {
	return fail.E(fail.Conflict, nil, "nothing is deleted from the blob store: %s", why).Code(codeEpoch).
		Hint("was this database, or another copy of it, restored or copied? `havn store confirm` says that this one is to be kept; read \"Restore\" in docs/operations.md first")
}

// judge answers why the store is not this database's, "" if it is, and which epoch is to be contested, 0: none.
func (e Epoch) judge(ctx context.Context, store *blob.Store) (lost string, contest int64, err error) {
	if e.Lost != "" {
		return e.Lost, e.Contest, nil
	}
	// An epoch is removed when its next one was begun: first the next one is looked for.
	token, byHand, err := tokenOf(ctx, store, e.N+1)
	switch {
	case err != nil:
		return "", 0, err
	case token != "" && (e.Next != e.N+1 || token != e.NextToken):
		if !byHand {
			contest = e.N + 1
		}
		return fmt.Sprintf("it is in epoch %d of another copy of this database, which is in epoch %d", e.N+1, e.N), contest, nil
	case e.N == 0 && token == "":
		// Nor does a copy that is so old know of any.
		first, _, firstErr := tokenOf(ctx, store, 0)
		if firstErr == nil && first != "" {
			lost = "epochs of it have begun, and this database knows of none: a later state of the database has used it"
		}
		return lost, 0, firstErr
	case e.N == 0:
		return "", 0, nil
	}
	if token, byHand, err = tokenOf(ctx, store, e.N); err != nil {
		return "", 0, err
	}
	switch {
	case token == "":
		return fmt.Sprintf("it does not know epoch %d, in which this database is: a later state of the database has used it, or it was restored itself", e.N), 0, nil
	case token != e.Token:
		if !byHand {
			contest = e.N
		}
		return fmt.Sprintf("its epoch %d is that of another copy of this database", e.N), contest, nil
	}
	contested, err := store.Contested(ctx, e.N)
	if err != nil || !contested {
		return "", 0, err
	}
	return fmt.Sprintf("another copy of this database would have begun its epoch %d too", e.N), 0, nil
}

// tokenOf answers under which token an epoch was begun, "" if it was not.
func tokenOf(ctx context.Context, store *blob.Store, n int64) (token string, byHand bool, err error) {
	text, err := store.Epoch(ctx, n)
	if err != nil {
		return "", false, absentIsFine(err)
	}
	token, how, _ := strings.Cut(text, " ")
	return token, how == confirmed, nil
}

// CheckStore is Identify, and looks whether nothing keeps this database from deleting in the store. It changes nothing there.
func (r *Registry) CheckStore(ctx context.Context) error {
	if _, err := r.Identify(ctx); err != nil {
		return err
	}
	return CheckEpoch(ctx, r.db, r.blobs)
}

// HoldStore is CheckStore for whoever is about to delete from the store, and answers the epoch. A store that is found to be another copy's is lost for this database until somebody confirms it.
//
//  1. That it is lost, in the database, if what was compared with the store is still there.
//  2. Where both are at the same epoch, it is contested in the store, so that the other one stops too: nobody can tell which is the copy. A crash before it: the next call does it.
//  3. That it is contested, in the database.
func (r *Registry) HoldStore(ctx context.Context, hold Hold) (epoch int64, err error) {
	if _, err = r.Identify(ctx); err != nil {
		return 0, err
	}
	e, err := StoredEpoch(ctx, r.db)
	if err != nil {
		return 0, err
	}
	if e.Lost == "" {
		lost, contest, judgeErr := e.judge(ctx, r.blobs)
		if judgeErr != nil || lost == "" {
			return e.N, judgeErr
		}
		gone := e
		gone.Lost, gone.Contest = lost, contest
		if e, err = r.swapEpoch(ctx, hold, "epoch.lose", e, gone); err != nil {
			return 0, err
		}
	}
	if e.Contest > 0 {
		if err = r.step("epoch.contest", func() error { return r.blobs.Contest(ctx, e.Contest) }); err != nil {
			return 0, err
		}
		said := e
		said.Contest = 0
		if e, err = r.swapEpoch(ctx, hold, "epoch.contested", e, said); err != nil {
			return 0, err
		}
	}
	return 0, refusal(e.Lost)
}

// BeginEpoch begins the next epoch. Between two there is as much time as all copies of the database need to look at the store.
//
//  1. Its number and token in the database. A crash after it: the next call goes on with them.
//  2. Its mark in the store. A crash after it: it is known for ours by its token, and the next call goes on.
//  3. Where it is the first one, a mark that stays: of epoch 0, for copies that know of none.
//  4. The new epoch in the database.
//  5. The mark of the epoch before is removed. A crash before it leaves some bytes until somebody confirms an epoch.
func (r *Registry) BeginEpoch(ctx context.Context, hold Hold) error {
	e, err := StoredEpoch(ctx, r.db)
	if err != nil {
		return err
	}
	if e.Lost != "" {
		return refusal(e.Lost)
	}
	if e.Next == 0 {
		if e, err = r.planEpoch(ctx, hold, e, e.N+1); err != nil {
			return err
		}
	}
	return r.beginEpoch(ctx, hold, e, "")
}

func (r *Registry) planEpoch(ctx context.Context, hold Hold, e Epoch, n int64) (Epoch, error) {
	plan := e
	plan.Next, plan.NextToken = n, sqldb.NewToken()
	return r.swapEpoch(ctx, hold, "epoch.plan", e, plan)
}

func (r *Registry) beginEpoch(ctx context.Context, hold Hold, e Epoch, how string) error {
	text := strings.TrimSpace(e.NextToken + " " + how)
	err := r.step("epoch.mark", func() error { return r.blobs.SetEpoch(ctx, e.Next, text) })
	if err != nil && !fail.Is(err, fail.Exists) {
		return err
	}
	// There are stores that do not refuse to write over it: what stands there counts.
	token, _, err := tokenOf(ctx, r.blobs, e.Next)
	if err != nil {
		return err
	}
	if token != e.NextToken {
		return fail.E(fail.Conflict, nil, "another copy of this database began epoch %d of the blob store", e.Next).Code(codeEpoch).Hint("the next look says more")
	}
	if e.N == 0 {
		err = r.step("epoch.first", func() error { return r.blobs.SetEpoch(ctx, 0, "begun") })
		if err != nil && !fail.Is(err, fail.Exists) {
			return err
		}
	}
	if _, err = r.swapEpoch(ctx, hold, "epoch.begin", e, Epoch{N: e.Next, Token: e.NextToken}); err != nil || e.N == 0 {
		return err
	}
	return r.step("epoch.drop", func() error { return r.blobs.DropEpoch(ctx, e.N) })
}

// swapEpoch writes down another epoch, if the one that was seen is still there, and answers it.
func (r *Registry) swapEpoch(ctx context.Context, hold Hold, title string, seen, next Epoch) (Epoch, error) {
	text, err := json.Marshal(next)
	if err != nil {
		return seen, fail.E(fail.Internal, err, "write down the epoch of the blob store")
	}
	err = r.tx(ctx, title, func(tx *sqldb.Tx) error {
		if holdErr := hold(ctx, tx); holdErr != nil {
			return holdErr
		}
		swapped, swapErr := index.SwapStoreEpoch(ctx, tx, seen.raw, string(text))
		if swapErr == nil && !swapped {
			swapErr = fail.E(fail.Unavailable, nil, "somebody else wrote it down at the same time").RetryAfter(busyRetry)
		}
		return swapErr
	})
	if err != nil {
		return seen, fmt.Errorf("write down the epoch of the blob store: %w", err)
	}
	next.raw = string(text)
	return next, nil
}

// confirmTime bounds the removal of marks that nobody needs any more.
const confirmTime = time.Minute

// Confirm says that the blob store is this database's, whatever other copies of it there are: it begins an epoch that is behind all others, so that these find theirs left behind. It answers its number.
func Confirm(ctx context.Context, db *sqldb.DB, store *blob.Store) (int64, error) {
	r := &Registry{db: db, blobs: store} // of which only what follows is used
	if _, err := r.Identify(ctx); err != nil {
		return 0, err
	}
	e, err := StoredEpoch(ctx, db)
	if err != nil {
		return 0, err
	}
	marks, err := store.Epochs(ctx)
	if err != nil {
		return 0, err
	}
	n := max(e.N, e.Next)
	for _, m := range marks {
		n = max(n, m)
	}
	n++
	anybody := func(context.Context, *sqldb.Tx) error { return nil }
	if e, err = r.planEpoch(ctx, anybody, e, n); err != nil {
		return 0, err
	}
	if err = r.beginEpoch(ctx, anybody, e, confirmed); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	for _, m := range marks {
		if err = store.DropEpoch(ctx, m); err != nil {
			return n, fmt.Errorf("remove what is left of epoch %d: %w", m, err)
		}
	}
	return n, nil
}
