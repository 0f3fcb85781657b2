package blob

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Marks are small objects that say something of the store as a whole. No sweep by listing touches them.
const (
	// idObject holds the store's id: a database compares it with its own before anything is swept.
	idObject = "havn-store-id"
	// epochPrefix and a number of epochDigits digits name what says who began an epoch, and with contestedSuffix what says that somebody else would have.
	epochPrefix     = "havn-epoch-"
	epochDigits     = 10
	contestedSuffix = "-contested"
	// maxMark bounds what is read of a mark.
	maxMark = 256
)

func epochName(n int64) string { return fmt.Sprintf("%s%0*d", epochPrefix, epochDigits, n) }

// ID answers the store's id, or NotFound if it has none yet, or one whose writing was cut off.
func (s *Store) ID(ctx context.Context) (string, error) {
	id, err := s.mark(ctx, idObject)
	if err != nil {
		return "", fmt.Errorf("read the store's id: %w", err)
	}
	return id, nil
}

// SetID gives the store its id. One that has an id keeps it: Exists.
func (s *Store) SetID(ctx context.Context, id string) error {
	if err := s.setMark(ctx, idObject, id); err != nil {
		return fmt.Errorf("write the store's id: %w", err)
	}
	return nil
}

// Epoch answers what was said when an epoch began, or NotFound.
func (s *Store) Epoch(ctx context.Context, n int64) (string, error) {
	text, err := s.mark(ctx, epochName(n))
	if err != nil {
		return "", fmt.Errorf("read epoch %d of the store: %w", n, err)
	}
	return text, nil
}

// SetEpoch begins an epoch. One that was begun stays as it is: Exists; but see Overwriter: who must know reads it again.
func (s *Store) SetEpoch(ctx context.Context, n int64, text string) error {
	if err := s.setMark(ctx, epochName(n), text); err != nil {
		return fmt.Errorf("begin epoch %d of the store: %w", n, err)
	}
	return nil
}

// Contested reports whether somebody contested an epoch.
func (s *Store) Contested(ctx context.Context, n int64) (bool, error) {
	_, err := s.Stat(ctx, epochName(n)+contestedSuffix)
	if fail.Is(err, fail.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether epoch %d of the store is contested: %w", n, err)
	}
	return true, nil
}

// Contest says that an epoch was begun by one, and somebody else would have begun it. It may be said twice.
func (s *Store) Contest(ctx context.Context, n int64) error {
	if err := s.setMark(ctx, epochName(n)+contestedSuffix, "contested"); err != nil && !fail.Is(err, fail.Exists) {
		return fmt.Errorf("contest epoch %d of the store: %w", n, err)
	}
	return nil
}

// DropEpoch removes what was said of an epoch.
func (s *Store) DropEpoch(ctx context.Context, n int64) error {
	for _, name := range []string{epochName(n), epochName(n) + contestedSuffix} {
		if err := s.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Epochs answers the epochs from 1 on of which something is said, in order: the last one, and what crashes left. It may take as long as a list of the whole store.
func (s *Store) Epochs(ctx context.Context) ([]int64, error) {
	var all []int64
	for info, err := range s.List(ctx, epochPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list the epochs of the store: %w", err)
		}
		rest, ok := strings.CutPrefix(info.Name, epochPrefix)
		if !ok {
			break
		}
		n, numErr := strconv.ParseInt(strings.TrimSuffix(rest, contestedSuffix), 10, 64)
		if numErr == nil && n > 0 {
			all = append(all, n)
		}
	}
	return slices.Compact(all), nil
}

// mark reads a mark, or answers NotFound if there is none, or one whose writing was cut off.
func (s *Store) mark(ctx context.Context, name string) (string, error) {
	var raw []byte
	err := s.again(ctx, "get", func(ctx context.Context) (tryErr error) {
		raw, tryErr = s.small(ctx, name)
		return tryErr
	})
	if err != nil {
		return "", err
	}
	text := strings.Trim(string(raw), "\x00 \r\n")
	if text == "" {
		return "", fail.E(fail.NotFound, nil, "%s is empty: its writing was cut off", name)
	}
	return text, nil
}

// setMark writes a mark. One that is there stays: Exists.
func (s *Store) setMark(ctx context.Context, name, text string) error {
	put := func() error {
		_, err := s.put(ctx, name, int64(len(text)), bytes.NewReader([]byte(text)))
		return err
	}
	err := put()
	if fail.Is(err, fail.Exists) {
		if _, readErr := s.mark(ctx, name); fail.Is(readErr, fail.NotFound) {
			// What a crash left of an earlier try. If it is another node's, which writes at this moment, the two compare what is there afterwards.
			if err = s.Delete(ctx, name); err == nil {
				err = put()
			}
		}
	}
	return err
}
