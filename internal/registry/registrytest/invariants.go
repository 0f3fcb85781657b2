package registrytest

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"testing"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// CheckInvariants fails the test where database and store are not what DESIGN.md promises. Nothing may be going on.
func CheckInvariants(t *testing.T, db *sqldb.DB, store *blob.Store) {
	t.Helper()
	c := &check{t: t, db: db, from: db, store: store, objects: map[int64][]piece{}, owner: map[int64]string{}}
	c.readContents()
	c.blobs()
	c.uploads()
	c.dead()
	c.owners()
	c.files()
	c.manifests()
	c.quotas()
	c.none("a link to no blob", "SELECT COUNT(*) FROM repo_blobs l LEFT JOIN blobs b ON b.digest = l.digest WHERE b.digest IS NULL")
	c.none("a tag of no manifest", "SELECT COUNT(*) FROM tags t LEFT JOIN manifests m ON m.repo = t.repo AND m.digest = t.digest WHERE m.digest IS NULL")
	c.none("a reference of a manifest to no link", "SELECT COUNT(*) FROM manifest_blobs x LEFT JOIN repo_blobs l ON l.repo = x.repo AND l.digest = x.digest WHERE l.digest IS NULL")
	c.none("a reference of an index to no manifest", "SELECT COUNT(*) FROM manifest_children x LEFT JOIN manifests m ON m.repo = x.repo AND m.digest = x.child WHERE m.digest IS NULL")
	c.none("a link that is neither referred to nor up for review", `SELECT COUNT(*) FROM repo_blobs l
		LEFT JOIN manifest_blobs x ON x.repo = l.repo AND x.digest = l.digest
		LEFT JOIN review v ON v.kind = 2 AND v.repo = l.repo AND v.digest = l.digest WHERE x.digest IS NULL AND v.digest IS NULL`)
	c.none("a manifest that no tag and no index names, and that is not up for review", `SELECT COUNT(*) FROM manifests m
		LEFT JOIN tags t ON t.repo = m.repo AND t.digest = m.digest LEFT JOIN manifest_children x ON x.repo = m.repo AND x.child = m.digest
		LEFT JOIN review v ON v.kind = 1 AND v.repo = m.repo AND v.digest = m.digest WHERE t.name IS NULL AND x.child IS NULL AND v.digest IS NULL`)
	c.none("a blob that is neither linked nor up for review", `SELECT COUNT(*) FROM blobs b LEFT JOIN repo_blobs l ON l.digest = b.digest
		LEFT JOIN review v ON v.kind = 3 AND v.repo = 0 AND v.digest = b.digest WHERE l.digest IS NULL AND v.digest IS NULL`)
}

type check struct {
	t       *testing.T
	db      *sqldb.DB
	from    sqldb.Querier // db, or one snapshot of it
	store   *blob.Store
	objects map[int64][]piece // by content, in order
	owner   map[int64]string
}

type piece struct {
	seq  int64
	name string
	size *int64
}

func (c *check) each(query string, scan func(sqldb.Scanner) error) {
	c.t.Helper()
	for row, err := range c.from.Rows(c.t.Context(), query) {
		if err == nil {
			err = scan(row)
		}
		if err != nil {
			c.t.Fatalf("%s: %v", query, err)
		}
	}
}

func (c *check) none(what, query string) {
	c.t.Helper()
	var n int64
	if err := c.db.Row(c.t.Context(), query).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	if n > 0 {
		c.t.Errorf("%s: %d times", what, n)
	}
}

func (c *check) readContents() {
	c.t.Helper()
	c.each("SELECT id FROM contents", func(row sqldb.Scanner) error {
		var id int64
		err := row.Scan(&id)
		c.objects[id] = nil
		return err
	})
	c.each("SELECT content, seq, name, size FROM objects ORDER BY content, seq", func(row sqldb.Scanner) error {
		var content int64
		var p piece
		err := row.Scan(&content, &p.seq, &p.name, &p.size)
		c.objects[content] = append(c.objects[content], p)
		return err
	})
}

func (c *check) own(content int64, who string) {
	c.t.Helper()
	if before := c.owner[content]; before != "" {
		c.t.Errorf("content %d belongs to %s and to %s", content, before, who)
	}
	c.owner[content] = who
}

// settled answers the objects that count, which are numbered without gaps and have sizes; others are an error where they may not be.
func (c *check) settled(content int64, others bool) []blob.Object {
	c.t.Helper()
	var all []blob.Object
	for _, p := range c.objects[content] {
		if p.seq < 0 {
			if !others || p.size != nil {
				c.t.Errorf("content %d (%s) has the unsettled object %s", content, c.owner[content], p.name)
			}
			continue
		}
		if p.size == nil || *p.size == 0 || p.seq != int64(len(all)) {
			c.t.Errorf("object %s is number %d behind %d others, size %v", p.name, p.seq, len(all), p.size)
			continue
		}
		all = append(all, blob.Object{Name: p.name, Size: *p.size})
	}
	return all
}

func (c *check) read(what string, objects []blob.Object) []byte {
	c.t.Helper()
	r, err := c.store.Open(c.t.Context(), objects)
	if err != nil {
		c.t.Errorf("%s: %v", what, err)
		return nil
	}
	data, err := io.ReadAll(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		c.t.Errorf("%s: %v", what, err)
	}
	return data
}

func (c *check) blobs() {
	c.t.Helper()
	c.each("SELECT digest, content, size FROM blobs WHERE damaged_at IS NULL", func(row sqldb.Scanner) error {
		var raw []byte
		var content, size int64
		if err := row.Scan(&raw, &content, &size); err != nil {
			return err
		}
		d, err := oci.DigestFromBytes(raw)
		if err != nil {
			return err
		}
		c.own(content, "blob "+d.String())
		data := c.read(d.String(), c.settled(content, false))
		if int64(len(data)) != size || oci.Sum(d.Algorithm(), data) != d {
			c.t.Errorf("blob %s of %d bytes has %d bytes, which are %s", d, size, len(data), oci.Sum(d.Algorithm(), data))
		}
		return nil
	})
	c.each("SELECT content FROM blobs WHERE damaged_at IS NOT NULL", func(row sqldb.Scanner) error {
		var content int64
		err := row.Scan(&content)
		c.own(content, "a damaged blob")
		return err
	})
}

func (c *check) uploads() {
	c.t.Helper()
	c.each("SELECT id, algorithm, content, off, seq, hash, done_digest FROM uploads", func(row sqldb.Scanner) error {
		var id string
		var algorithm, off, seq int64
		var content *int64
		var state, done []byte
		if err := row.Scan(&id, &algorithm, &content, &off, &seq, &state, &done); err != nil {
			return err
		}
		if done != nil {
			if content != nil {
				c.t.Errorf("upload %s is done and has a content", id)
			}
			return nil
		}
		c.own(*content, "upload "+id)
		objects := c.settled(*content, true)
		data := c.read("upload "+id, objects)
		if int64(len(data)) != off || int64(len(objects)) != seq {
			c.t.Errorf("upload %s at %d, object %d, has %d bytes in %d objects", id, off, seq, len(data), len(objects))
		}
		if off == 0 {
			return nil
		}
		sum := oci.Algorithm(algorithm).New()
		restored, ok := sum.(encoding.BinaryUnmarshaler)
		if !ok {
			return fmt.Errorf("hash of algorithm %d", algorithm)
		}
		if err := restored.UnmarshalBinary(state); err != nil {
			return err
		}
		if oci.FromHash(oci.Algorithm(algorithm), sum) != oci.Sum(oci.Algorithm(algorithm), data) {
			c.t.Errorf("upload %s: the hash is not that of its bytes", id)
		}
		return nil
	})
}

func (c *check) dead() {
	c.t.Helper()
	c.each("SELECT content FROM dead", func(row sqldb.Scanner) error {
		var content int64
		err := row.Scan(&content)
		c.own(content, "the dead")
		return err
	})
}

// owners: every content belongs to one blob, one upload or the dead.
func (c *check) owners() {
	c.t.Helper()
	for content := range c.objects {
		if c.owner[content] == "" {
			c.t.Errorf("content %d belongs to nobody", content)
		}
	}
}

// files: every object in the store has a row, in which it is settled, being written, or dead.
func (c *check) files() {
	c.t.Helper()
	known := map[string]bool{}
	for _, list := range c.objects {
		for _, p := range list {
			known[p.name] = true
		}
	}
	for info, err := range c.store.List(c.t.Context(), "") {
		if err != nil {
			c.t.Fatal(err)
		}
		if blob.IsOwnName(info.Name) && !known[info.Name] {
			c.t.Errorf("object %s of %d bytes has no row", info.Name, info.Size)
		}
	}
}

func (c *check) manifests() {
	c.t.Helper()
	c.each("SELECT digest, media_type, size, subject, body FROM manifests", func(row sqldb.Scanner) error {
		var raw, subject, body []byte
		var mediaType string
		var size int64
		if err := row.Scan(&raw, &mediaType, &size, &subject, &body); err != nil {
			return err
		}
		d, err := oci.DigestFromBytes(raw)
		if err != nil {
			return err
		}
		m, err := oci.ParseManifest(mediaType, body)
		if err != nil {
			return err
		}
		if oci.Sum(d.Algorithm(), body) != d || size != int64(len(body)) {
			c.t.Errorf("manifest %s of %d bytes has other bytes", d, size)
		}
		var want []byte
		if m.Subject != nil {
			want = m.Subject.Digest.Bytes()
		}
		if !bytes.Equal(want, subject) && (m.Subject != nil || !m.IsSignature()) { // a signature may be attached by a tag that is gone
			c.t.Errorf("manifest %s has another subject", d)
		}
		return nil
	})
	// The rows of references are compared one manifest at a time: a query inside a loop over rows is not allowed.
	type key struct {
		repo   int64
		digest oci.Digest
	}
	bodies := map[key]*oci.Manifest{}
	c.each("SELECT repo, digest, media_type, body FROM manifests", func(row sqldb.Scanner) error {
		var k key
		var raw, body []byte
		var mediaType string
		if err := row.Scan(&k.repo, &raw, &mediaType, &body); err != nil {
			return err
		}
		var err error
		if k.digest, err = oci.DigestFromBytes(raw); err != nil {
			return err
		}
		bodies[k], err = oci.ParseManifest(mediaType, body)
		return err
	})
	refs := map[key]map[oci.Digest]bool{}
	c.each("SELECT repo, manifest, digest FROM manifest_blobs UNION ALL SELECT repo, parent, child FROM manifest_children", func(row sqldb.Scanner) error {
		var k key
		var raw, to []byte
		if err := row.Scan(&k.repo, &raw, &to); err != nil {
			return err
		}
		var err error
		if k.digest, err = oci.DigestFromBytes(raw); err != nil {
			return err
		}
		d, err := oci.DigestFromBytes(to)
		if refs[k] == nil {
			refs[k] = map[oci.Digest]bool{}
		}
		refs[k][d] = true
		return err
	})
	for k, m := range bodies {
		for _, d := range m.RequiredBlobs() {
			if !refs[k][d.Digest] {
				c.t.Errorf("manifest %s does not hold its blob %s", k.digest, d.Digest)
			}
		}
		if n := len(refs[k]); n > len(m.RequiredBlobs())+len(m.Foreign())+len(m.Children) {
			c.t.Errorf("manifest %s holds %d things", k.digest, n)
		}
	}
}
