package redis

import (
	"context"
	"fmt"
	"time"
)

// Report is what Check found.
type Report struct {
	Servers []ServerReport // one for each address, in their order
	Mode    Mode           // "" if Err says why there is none
	Slowest time.Duration  // of a write to each part
	Err     error          // why it can't be used
}

// ServerReport is what one address says.
type ServerReport struct {
	Addr    string
	Mode    Mode
	Replica bool
	Err     error
}

// Check asks every address what it is and writes to every part, on connections of its own: for people who want to know. It leaves keys that are gone within a minute.
func (c *Client) Check(ctx context.Context) Report {
	var r Report
	servers := c.askAll()
	for _, s := range servers {
		r.Servers = append(r.Servers, ServerReport{s.addr, s.mode, s.replica, s.err})
	}
	l, err := c.linkTo(servers)
	if err != nil {
		r.Err = err
		return r
	}
	defer l.store.close()
	for i, part := range l.circuits {
		for _, key := range part.probes {
			var took time.Duration
			for range 2 { // once for the connection, once for the time
				begin := c.cfg.Clock()
				bounded, cancel := context.WithTimeout(ctx, laterTime)
				err = probe(bounded, l.store, key)
				cancel()
				if err != nil {
					r.Err = fmt.Errorf("write%s: %w", where(l, i), err)
					return r
				}
				took = c.cfg.Clock().Sub(begin)
			}
			r.Slowest = max(r.Slowest, took)
		}
	}
	r.Mode = l.mode
	return r
}

// where says of which slots a part of a cluster is.
func where(l *link, part int) string {
	if l.mode != Cluster {
		return ""
	}
	each := slots / len(l.circuits)
	return fmt.Sprintf(" to slots %d to %d", part*each, (part+1)*each-1)
}
