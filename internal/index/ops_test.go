package index_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestAnOperationAnswersWhatTheRunSaidThatWasApplied(t *testing.T) {
	t.Parallel()
	ctx, db, once := t.Context(), database(t), index.NewOnce[string]()
	undo := errors.New("not committed")
	runs := 0
	run := func(keep error) (answer string, at int64) {
		t.Helper()
		err := db.Tx(ctx, "test.once", func(tx *sqldb.Tx) (err error) {
			answer, err = once.Run(ctx, tx, func() (string, error) {
				runs++
				return fmt.Sprint("run ", runs), nil
			})
			if err == nil {
				err = tx.Row(ctx, "SELECT at FROM ops").Scan(&at)
			}
			return errors.Join(err, keep)
		})
		if !errors.Is(err, keep) {
			t.Fatal(err)
		}
		return answer, at
	}
	_, first := run(undo)
	_, second := run(undo)
	if first == second {
		t.Error("two runs can't be told apart")
	}
	answer, third := run(nil)
	if again, _ := run(nil); answer != "run 3" || again != answer || runs != 3 {
		t.Errorf("%q, and again %q after %d runs", answer, again, runs)
	}
	for at, want := range map[int64]string{first: "run 1", second: "run 2", third: "run 3"} {
		if err := db.Tx(ctx, "test.wake", func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE ops SET at = ?", at)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got, _ := run(nil); got != want || runs != 3 {
			t.Errorf("%q is answered for %q, after %d runs", got, want, runs)
		}
	}
}
