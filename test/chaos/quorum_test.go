package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// ofQuorum take the majority of the database away: nothing is written while they last.
var ofQuorum = []fault{
	{name: "two of three Galera nodes are killed", hold: 5 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		spared := d.server()
		for _, m := range d.others(spared) {
			m.Kill()
		}
		return func() error { return d.galera.BeginAnew(t.Context(), spared) }
	}},
	{name: "all Galera nodes are killed", hold: 2 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		for _, m := range d.galera.Nodes {
			m.Kill()
		}
		return func() error { return d.galera.Recover(t.Context()) }
	}},
	{name: "two of three Galera nodes hang", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		return hangAll(t, d.others(d.server()))
	}},
	{name: "all Galera nodes hang", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		return hangAll(t, d.galera.Nodes)
	}},
	{name: "two of three Galera nodes are cut off from everything", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		spared := d.server()
		heal := cut(t, alone(hostsOf(d.others(spared))...)...)
		return func() error { return errors.Join(minority(t.Context(), spared), heal()) }
	}},
	{name: "all Galera nodes are cut off from each other", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		all := ips(hostsOf(d.galera.Nodes)...)
		heal := cut(t, "ip saddr "+all+" ip daddr "+all)
		return func() error { return errors.Join(minority(t.Context(), d.galera.Nodes...), heal()) }
	}},
}

// others answers the servers of the database but for some.
func (d *deployment) others(but ...*lab.MariaDB) []*lab.MariaDB {
	return slices.DeleteFunc(slices.Clone(d.galera.Nodes), func(m *lab.MariaDB) bool { return slices.Contains(but, m) })
}

func hostsOf(all []*lab.MariaDB) []string {
	var hosts []string
	for _, m := range all {
		hosts = append(hosts, m.Host)
	}
	return hosts
}

// hangAll lets servers hang at the same time. It answers how to let them go on.
func hangAll(t *testing.T, all []*lab.MariaDB) func() error {
	t.Helper()
	for _, m := range all {
		need(t, m.Pause())
	}
	return func() error {
		var errs []error
		for _, m := range all {
			errs = append(errs, m.Resume())
		}
		return errors.Join(errs...)
	}
}

const (
	size   = "wsrep_cluster_size"
	status = "wsrep_cluster_status"
)

// said waits until each of some servers says that a variable of its state has a value.
func said(ctx context.Context, variable, want string, all ...*lab.MariaDB) error {
	for _, m := range all {
		for {
			state, err := m.Ask(ctx, "SHOW STATUS LIKE '"+variable+"'")
			if err == nil && state == variable+"\t"+want {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s says %q, want %s: %w", m.Host, state, want, errors.Join(err, ctx.Err()))
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// minority makes sure that the fault took place: servers know that they are too few.
func minority(ctx context.Context, all ...*lab.MariaDB) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return said(ctx, status, "non-Primary", all...)
}

// bootstrapAfter is how long those that are left have to say that they are a majority: they do so at once, or never.
const bootstrapAfter = 10 * time.Second

// majority waits until those that are left see each other and nobody else, and if they are not a majority of those that were, lets them begin anew, as an operator does.
func (d *deployment) majority(ctx context.Context, left ...*lab.MariaDB) error {
	all, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := said(all, size, fmt.Sprint(len(left)), left...); err != nil {
		return err
	}
	bounded, stop := context.WithTimeout(ctx, bootstrapAfter)
	defer stop()
	if said(bounded, status, "Primary", left...) == nil {
		return nil
	}
	if err := left[0].Run(ctx, bootstrap); err != nil {
		return err
	}
	return said(all, status, "Primary", left...)
}
