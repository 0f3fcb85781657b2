package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// ofTransfers strike a Galera cluster while one node gives all data to another that has none.
var ofTransfers = []fault{
	{name: "a Galera node loses its data, and gets all of it again", served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.server()
		m.Kill()
		need(t, m.LoseData())
		return func() error { return m.Start(t.Context()) }
	}},
	{name: "a Galera node is killed while it gets all data", served: true, begin: func(t *testing.T, d *deployment) func() error {
		m, _, ended := d.transfer(t)
		m.Kill()
		return func() error {
			if err := <-ended; err == nil {
				t.Log("it had all data before it was killed")
			}
			return anew(t, m)
		}
	}},
	{name: "a Galera node hangs while it gets all data", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m, _, ended := d.transfer(t)
		need(t, m.Pause())
		return func() error {
			need(t, m.Resume())
			if err := <-ended; err != nil {
				return anew(t, m) // it was away for too long to go on
			}
			return nil
		}
	}},
	// The one that gets data gives up when nobody gives it any more. If it did not say so, who is left would have no majority.
	{name: "a Galera node hangs while it gives all data", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		m, donor, ended := d.transfer(t)
		need(t, donor.Pause())
		return func() error {
			need(t, donor.Resume())
			if err := <-ended; err == nil {
				t.Log("the other had all data before it hung, or after")
				return nil
			}
			need(t, d.majority(t.Context(), d.others(m)...))
			return anew(t, m)
		}
	}},
	{name: "a Galera node is killed while it gives all data", begin: func(t *testing.T, d *deployment) func() error {
		m, donor, ended := d.transfer(t)
		donor.Kill()
		return func() error {
			if err := <-ended; err == nil {
				t.Log("the other had all data before it was killed")
				return donor.Start(t.Context())
			}
			need(t, d.majority(t.Context(), d.others(m, donor)...))
			need(t, donor.Start(t.Context()))
			return anew(t, m)
		}
	}},
}

// transfers is how often a transfer is begun that nobody sees before it is over.
const transfers = 5

// transfer takes all data from a server and lets it join: it answers when another feeds it, with which, and later how the start ends.
func (d *deployment) transfer(t *testing.T) (m, donor *lab.MariaDB, ended <-chan error) {
	t.Helper()
	m = d.server()
	for range transfers {
		m.Kill()
		need(t, m.LoseData())
		start := make(chan error, 1)
		go func() { start <- m.Start(t.Context()) }()
		var err error
		donor, err = d.transferring(t.Context(), start)
		if need(t, err); donor != nil {
			return m, donor, start
		}
	}
	t.Fatalf("%d servers joined before they were seen to be fed", transfers)
	return nil, nil, nil
}

// transferring waits until a server feeds the one that starts, and answers which; none if that has all data already.
func (d *deployment) transferring(ctx context.Context, ended <-chan error) (*lab.MariaDB, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case err := <-ended:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("no server feeds the one that joins: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
		for _, m := range d.galera.Nodes {
			state, err := m.Ask(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'")
			if err == nil && strings.Contains(state, "Donor") {
				return m, nil
			}
		}
	}
}

// anew lets a server join that was broken off when it had a part of the data.
func anew(t *testing.T, m *lab.MariaDB) error {
	return errors.Join(m.LoseData(), m.Start(t.Context()))
}
