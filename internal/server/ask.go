package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
)

// No second process writes in SQLite's database. A command that changes the key of tokens asks the process that does, by an empty file in the data directory, and finds the answer in another one:
// whoever may write there may do all that Havn may.
const (
	rotateName  = "rotate-key"
	revokeName  = "revoke-keys"
	rotatedName = "rotated-key"

	// askedEvery is how often the process looks whether it is asked, and answerEvery how often the command looks for the answer.
	askedEvery, answerEvery = time.Second, 50 * time.Millisecond
	// askPatience is how long the command waits: a database that is busy takes a transaction's time.
	askPatience = 10 * time.Second
)

// asked is the answer to a command.
type asked struct {
	Done  access.Rotated
	Error string // "": it is done
}

// askToRotate lets the process that serves the data directory rotate the key. refusal is why this one can't: it is the error if that process does not know how to, or hangs.
func askToRotate(ctx context.Context, dir string, revoke bool, refusal error) (access.Rotated, error) {
	question, answer := filepath.Join(dir, rotateName), filepath.Join(dir, rotatedName)
	if revoke {
		question = filepath.Join(dir, revokeName)
	}
	if err := removeIfThere(answer); err != nil {
		return access.Rotated{}, dirError(err, answer)
	}
	if err := writeSecret(question, ""); err != nil {
		return access.Rotated{}, dirError(err, question)
	}
	tick := time.NewTicker(answerEvery)
	defer tick.Stop()
	for end := time.Now().Add(askPatience); time.Now().Before(end); {
		text, err := os.ReadFile(answer)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return access.Rotated{}, dirError(err, answer)
		default:
			done, answerErr := read(text)
			return done, errors.Join(answerErr, removeIfThere(answer))
		}
		select {
		case <-ctx.Done():
			return access.Rotated{}, errors.Join(fail.E(fail.Unavailable, ctx.Err(), "wait for the process that serves"), removeIfThere(question))
		case <-tick.C:
		}
	}
	err := os.Remove(question)
	if errors.Is(err, fs.ErrNotExist) {
		return access.Rotated{}, fail.E(fail.Unavailable, nil, "the process that serves rotates the key, and did not say yet that it is done").Hint("havn doctor tells which key signs")
	}
	return access.Rotated{}, errors.Join(refusal, err)
}

func read(text []byte) (access.Rotated, error) {
	var a asked
	if err := json.Unmarshal(text, &a); err != nil {
		return access.Rotated{}, fail.E(fail.Internal, err, "the answer of the process that serves")
	}
	if a.Error != "" {
		return access.Rotated{}, fail.E(fail.Unavailable, nil, "%s", a.Error).Hint("its log has more; try again")
	}
	return a.Done, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keyKeeper changes the key of tokens when a command asks for it.
type keyKeeper struct {
	*Server
	seal *seal.Seal
}

// Run looks until the context ends.
func (k keyKeeper) Run(ctx context.Context) error {
	if k.cfg.Database.Engine != config.SQLite {
		return nil // commands reach the database themselves
	}
	tick := time.NewTicker(askedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for name, revoke := range map[string]bool{rotateName: false, revokeName: true} {
			if os.Remove(filepath.Join(k.cfg.DataDir, name)) == nil { // what can't be removed would be done again and again
				k.rotate(ctx, revoke)
			}
		}
	}
}

func (k keyKeeper) rotate(ctx context.Context, revoke bool) {
	done, err := access.RotateKey(ctx, access.Config{DB: k.stores.db, Clock: k.clock, Seal: k.seal}, revoke)
	a := asked{Done: done}
	if err != nil {
		a.Error = fmt.Sprintf("rotate the key: %v", err)
		k.log.ErrorContext(ctx, "the key of tokens is not rotated", "error", err, "hint", fail.HintOf(err))
	} else {
		k.log.InfoContext(ctx, "the key of tokens is rotated", "old", done.Old, "new", done.New, "revoked", revoke)
	}
	text, err := json.Marshal(a)
	if err == nil {
		err = writeSecret(filepath.Join(k.cfg.DataDir, rotatedName), string(text))
	}
	if err != nil {
		k.log.WarnContext(ctx, "the command that asked to rotate the key gets no answer", "error", err)
	}
}
