package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// workload is one row of the table. Its work is prepared for a peer once; each round then runs it with some clients at once.
type workload struct {
	name    string
	clients int
	// perRound bounds a round by operations; 0 means by time (the run's -time).
	perRound int
	bytes    int64 // of payload per operation, 0 where the number of operations is the figure
	pulls    bool  // nginx can serve it
	alone    bool  // only Havn: others take hours to be filled, or have nothing like it
	quotas   bool  // a Havn whose project has a quota is measured beside it, and nobody else
	blobs    bool  // it pushes blobs: what the disk itself takes can be measured beside it
	prepare  func(s *site) (operation, error)
	target   string
}

// measures reports whether a peer can do a workload, and is asked to.
func (w workload) measures(p peer, kind store) bool {
	switch ours := p.name == "havn" || p.addr != ""; {
	case w.alone:
		return ours
	case w.quotas:
		return ours || p.quota
	case p.quota:
		return false
	case p.static:
		return w.pulls
	case p.bare && kind == inDirectory:
		return w.blobs
	}
	return true
}

// site is a peer that runs, with the content that a workload laid there.
type site struct {
	peer   peer
	proc   *process
	dir    string
	addrs  []string // of its nodes: the clients are spread over them
	auth   string
	source *rand.Rand
	rounds int

	store    store
	services *services
}

// operation does one unit of work on a client's connection. Its number is unique in the peer's life.
type operation func(c *client, number int) error

const repo = "library/bench"

// workloads answers those for a store. Behind a network fewer operations make a round: some peers take seconds for one.
func workloads(kind store) []workload {
	name := func(s string) string { return string(kind) + "-" + s }
	small := workload{name: name("push-1m"), clients: 16, perRound: 96, bytes: mib, prepare: blobPush(mib, 96, false), target: "≥ 8 × distribution"}
	patch := workload{name: name("push-1m-patch"), clients: 16, perRound: 96, bytes: mib, prepare: blobPush(mib, 96, true)}
	large := workload{name: name("push-100m"), clients: 4, perRound: 8, bytes: 100 * mib, prepare: blobPush(100*mib, 8, false), target: "≥ 2.5 × distribution, ≥ 0.85 × S3 itself"}
	pulls := workload{name: name("pull-100m"), clients: 4, perRound: 16, bytes: 100 * mib, pulls: true, prepare: blobPull(100 * mib), target: "≥ 1.4 × distribution"}
	switch kind {
	case onS3, onSwift:
		return []workload{small, patch, large, pulls}
	case onRADOS:
		large.target, pulls.target = "≥ 1.3 × Havn on S3", "≥ Havn on S3"
		return []workload{small, large, pulls}
	case cached:
		pulls.target = "≥ 0.9 × nginx"
		return []workload{pulls}
	case cluster:
		return []workload{{name: name("manifest-get-tag-64"), clients: 64, pulls: true, prepare: manifestRead("GET", "tag"), target: "≥ 20 × distribution"}}
	case inDirectory:
	}
	all := []workload{}
	for _, clients := range []int{1, 16, 64} {
		for _, by := range []string{"tag", "digest"} {
			for _, method := range []string{"GET", "HEAD"} {
				w := workload{name: fmt.Sprintf("manifest-%s-%s-%d", strings.ToLower(method), by, clients), clients: clients, pulls: true, prepare: manifestRead(method, by)}
				if clients == 64 && by == "tag" && method == "GET" {
					w.target = "≥ 0.7 × nginx"
				}
				all = append(all, w)
			}
		}
	}
	return append(all,
		workload{name: "blob-pull-1m", clients: 16, bytes: mib, pulls: true, prepare: blobPull(mib), target: "≥ 0.95 × nginx"},
		workload{name: "blob-pull-100m", clients: 4, bytes: 100 * mib, pulls: true, prepare: blobPull(100 * mib), target: "≥ 0.97 × nginx, ≤ half of distribution's CPU"},
		workload{name: "blob-push-1m", clients: 16, perRound: 480, bytes: mib, blobs: true, prepare: blobPush(mib, 480, false), target: "≥ 1.0 × olareg"},
		workload{name: "blob-push-1m-patch", clients: 16, perRound: 480, bytes: mib, prepare: blobPush(mib, 480, true)},
		workload{name: "blob-push-100m", clients: 4, perRound: 8, bytes: 100 * mib, blobs: true, prepare: blobPush(100*mib, 8, false), target: "≥ 1.1 × olareg"},
		workload{name: "image-small-push", clients: 16, perRound: 640, prepare: imagePush(1, kib, 640), target: "≥ 1.0 × olareg"},
		workload{name: "image-push", clients: 16, perRound: 64, prepare: imagePush(10, 100*kib, 64)},
		workload{name: "image-pull", clients: 16, pulls: true, prepare: imagePull(10, 100*kib)},
		workload{name: "tags-first", clients: 1, alone: true, prepare: tagPage(""), target: "< 1 ms"},
		workload{name: "tags-deep", clients: 1, alone: true, prepare: tagPage("t099000"), target: "≤ 1.2 × first"},
		workload{name: "robot-token", clients: 16, alone: true, prepare: robotTokens, target: "≥ 8,000/s"},
		workload{name: "project-page", clients: 1, alone: true, prepare: projectPage, target: "< 20 ms"},
		workload{name: "quota-image-push", clients: 32, perRound: 640, quotas: true, prepare: imagePush(1, kib, 640), target: "≤ 1.11 × with a quota"},
	)
}

// bring lays an image at the site under the tag "v1".
func (s *site) bring(layers, size int) (image, error) {
	m, err := newImage(s.source, layers, size)
	if err != nil {
		return m, err
	}
	if s.peer.static {
		return m, layDown(s.dir, repo, "v1", m)
	}
	c := newClient(s.addrs[0], s.peer.tls, s.auth)
	defer c.close()
	return m, pushImage(c, repo, "v1", m)
}

func manifestRead(method, by string) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		m, err := s.bring(5, kib)
		path := "/v2/" + repo + "/manifests/v1"
		if by == "digest" {
			path = "/v2/" + repo + "/manifests/" + m.digest
		}
		return func(c *client, _ int) error {
			a, cause := c.do(method, path, "", nil, false)
			if cause == nil && method == "GET" && a.length != int64(len(m.manifest)) {
				return fmt.Errorf("a manifest of %d bytes, want %d", a.length, len(m.manifest))
			}
			return expect(a, cause, method+" manifest", 200)
		}, err
	}
}

func blobPull(size int) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		if s.peer.bare {
			return barePull(s, size)
		}
		m, err := s.bring(1, size)
		if err != nil {
			return nil, err
		}
		path := "/v2/" + repo + "/blobs/" + m.digests[1]
		return func(c *client, _ int) error { return pull(c, path, size) }, nil
	}
}

func pull(c *client, path string, size int) error {
	a, err := c.do("GET", path, "", nil, false)
	if err == nil && a.length != int64(size) {
		return fmt.Errorf("a blob of %d bytes, want %d; answer %d", a.length, size, a.status)
	}
	return expect(a, err, "get blob", 200)
}

// blobPush knows every digest beforehand; only the bytes that make the blobs differ are written per operation.
func blobPush(size, perRound int, patch bool) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		base := noise(s.source, size)
		switch {
		case s.peer.bare && s.store == inDirectory:
			return diskPush(s, base), nil
		case s.peer.bare:
			return barePush(s, base, perRound*(s.rounds+1))
		}
		digests := make([]string, perRound*(s.rounds+1))
		for i := range digests {
			digests[i] = digestOf(variant(base, uint64(i)))
		}
		return func(c *client, number int) error {
			if number >= len(digests) {
				return fmt.Errorf("operation %d was not prepared", number)
			}
			return pushBlob(c, repo, digests[number], variant(base, uint64(number)), patch)
		}, nil
	}
}

func imagePush(layers, size, perRound int) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		images := make([]image, perRound*(s.rounds+1))
		for i := range images {
			var err error
			if images[i], err = newImage(s.source, layers, size); err != nil {
				return nil, err
			}
		}
		return func(c *client, number int) error {
			if number >= len(images) {
				return fmt.Errorf("operation %d was not prepared", number)
			}
			return pushImage(c, repo, fmt.Sprintf("t%06d", number), images[number])
		}, nil
	}
}

func imagePull(layers, size int) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		m, err := s.bring(layers, size)
		return func(c *client, _ int) error {
			a, cause := c.do("GET", "/v2/"+repo+"/manifests/v1", "", nil, false)
			if cause = expect(a, cause, "get manifest", 200); cause != nil {
				return cause
			}
			for _, d := range m.digests {
				a, cause = c.do("GET", "/v2/"+repo+"/blobs/"+d, "", nil, false)
				if cause = expect(a, cause, "get blob", 200); cause != nil {
					return cause
				}
			}
			return nil
		}, err
	}
}

const (
	tagCount = 100_000
	pageSize = 100
)

// tagPage reads one page of a hundred out of a hundred thousand tags, from the start or behind a tag.
func tagPage(last string) func(*site) (operation, error) {
	return func(s *site) (operation, error) {
		m, err := s.bring(1, kib)
		if err != nil {
			return nil, err
		}
		tag := func(c *client, number int) error {
			return pushManifest(c, repo, fmt.Sprintf("t%06d", number), m.manifest)
		}
		if _, _, err = burst(s, tag, 64, 0, tagCount, time.Hour); err != nil {
			return nil, fmt.Errorf("seed %d tags: %w", tagCount, err)
		}
		path := fmt.Sprintf("/v2/%s/tags/list?n=%d", repo, pageSize)
		if last != "" {
			path += "&last=" + last
		}
		return func(c *client, _ int) error {
			a, cause := c.do("GET", path, "", nil, false)
			return expect(a, cause, "list tags", 200)
		}, nil
	}
}
