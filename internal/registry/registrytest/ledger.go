package registrytest

import (
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// thing is a blob or a manifest of a project.
type thing struct {
	project int64
	digest  oci.Digest
}

// quotas: what is counted against each quota is what its project has, each thing once, and what is held is what is counted and what may still be used.
func (c *check) quotas() {
	c.t.Helper()
	// One snapshot: nodes that do nothing else fold their slices all the same.
	err := c.db.View(c.t.Context(), "check.quotas", func(q sqldb.Querier) error {
		then := *c
		then.from = q
		then.ledger()
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// ledger compares what one snapshot has.
func (c *check) ledger() {
	c.t.Helper()
	type counted struct{ size, repos int64 }
	want, got := map[thing]counted{}, map[thing]counted{}
	const query = `SELECT r.project_id, l.digest, b.size FROM quotas q JOIN repositories r ON r.project_id = q.project JOIN repo_blobs l ON l.repo = r.id JOIN blobs b ON b.digest = l.digest
		UNION ALL SELECT r.project_id, m.digest, m.size FROM quotas q JOIN repositories r ON r.project_id = q.project JOIN manifests m ON m.repo = r.id`
	c.each(query, func(row sqldb.Scanner) error {
		k, n, err := scanThing(row)
		want[k] = counted{n, want[k].repos + 1}
		return err
	})
	held, inSlice := map[int64]int64{}, map[int64]int64{}
	c.each("SELECT project, digest, size, repos, COALESCE(slice, 0) FROM quota_charges", func(row sqldb.Scanner) error {
		var repos, slice int64
		k, n, err := scanThing(row, &repos, &slice)
		got[k] = counted{n, repos}
		if slice == 0 {
			held[k.project] += n
		} else {
			inSlice[slice] += n
		}
		return err
	})
	for k, w := range want {
		if got[k] != w {
			c.t.Errorf("project %d has %s, %+v, and it is counted as %+v", k.project, k.digest, w, got[k])
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			c.t.Errorf("project %d has not %s, and it is counted as %+v", k.project, k.digest, g)
		}
	}
	c.each("SELECT h.project, h.bytes, COALESCE(h.slice, 0), h.upload, COALESCE(u.off, -1) FROM quota_holds h LEFT JOIN uploads u ON u.id = h.upload AND u.done_at IS NULL", func(row sqldb.Scanner) error {
		var project, bytes, slice, off int64
		var upload string
		err := row.Scan(&project, &bytes, &slice, &upload, &off)
		if bytes > off {
			c.t.Errorf("%d bytes are held for upload %s, which stands at %d (-1: it is not under way)", bytes, upload, off)
		}
		if slice == 0 {
			held[project] += bytes
		} else {
			inSlice[slice] += bytes
		}
		return err
	})
	c.each("SELECT id, project, bytes FROM quota_slices", func(row sqldb.Scanner) error {
		var id, project, bytes int64
		err := row.Scan(&id, &project, &bytes)
		if inSlice[id] > bytes {
			c.t.Errorf("slice %d of project %d has %d bytes, of which %d are used", id, project, bytes, inSlice[id])
		}
		held[project] += bytes
		return err
	})
	c.each("SELECT project, held FROM quotas", func(row sqldb.Scanner) error {
		var project, n int64
		err := row.Scan(&project, &n)
		if held[project] != n {
			c.t.Errorf("project %d holds %d bytes of its quota, and the sum of all that is counted and may be used is %d", project, n, held[project])
		}
		delete(held, project)
		return err
	})
	if len(held) > 0 {
		c.t.Errorf("of projects without a quota something is counted: %v", held)
	}
}

func scanThing(row sqldb.Scanner, more ...any) (k thing, size int64, err error) {
	var raw []byte
	if err = row.Scan(append([]any{&k.project, &raw, &size}, more...)...); err == nil {
		k.digest, err = oci.DigestFromBytes(raw)
	}
	return k, size, err
}
