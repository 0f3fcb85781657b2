-- The registry's rows. Times are microseconds since 1970 UTC; digests are bytes with the algorithm in front; ids are random.
-- Every key is RESTRICT: what is referred to can't be deleted. Statements may run twice.

CREATE TABLE IF NOT EXISTS meta (
	k TEXT NOT NULL PRIMARY KEY CHECK (length(k) <= 64),
	v TEXT NOT NULL CHECK (length(v) <= 65535)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS nodes (
	id INTEGER NOT NULL PRIMARY KEY,
	started_at INTEGER NOT NULL,
	beat INTEGER NOT NULL,
	beat_at INTEGER NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('alive', 'dead', 'left')),
	version TEXT NOT NULL CHECK (length(version) <= 64),
	addr TEXT NOT NULL CHECK (length(addr) <= 255)
) STRICT;

-- A duty held by an incarnation of a node. owner 0: nobody.
CREATE TABLE IF NOT EXISTS claims (
	name TEXT NOT NULL PRIMARY KEY CHECK (length(name) <= 64),
	owner INTEGER NOT NULL,
	epoch INTEGER NOT NULL,
	note TEXT NOT NULL CHECK (length(note) <= 255)
) STRICT, WITHOUT ROWID;

-- Operations that were applied: a second run finds its row taken.
CREATE TABLE IF NOT EXISTS ops (
	op TEXT NOT NULL PRIMARY KEY CHECK (length(op) <= 64),
	at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ops_at ON ops (at);

CREATE TABLE IF NOT EXISTS users (
	id INTEGER NOT NULL PRIMARY KEY,
	name TEXT NOT NULL UNIQUE CHECK (length(name) <= 255),
	email TEXT CHECK (length(email) <= 255),
	password_hash TEXT NOT NULL CHECK (length(password_hash) <= 255),
	admin INTEGER NOT NULL CHECK (admin IN (0, 1)),
	disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
	created_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS projects (
	id INTEGER NOT NULL PRIMARY KEY,
	name TEXT NOT NULL UNIQUE CHECK (length(name) <= 255),
	public INTEGER NOT NULL CHECK (public IN (0, 1)),
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS repositories (
	id INTEGER NOT NULL PRIMARY KEY,
	project_id INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	name TEXT NOT NULL UNIQUE CHECK (length(name) <= 255),
	created_at INTEGER NOT NULL,
	pushed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS repositories_project ON repositories (project_id, name);

CREATE TABLE IF NOT EXISTS contents (
	id INTEGER NOT NULL PRIMARY KEY,
	created_at INTEGER NOT NULL
) STRICT;

-- An object is settled when it is part of what was received: seq counts from 0 and size is set. While it is written, seq is a random negative number
-- and size is NULL.
CREATE TABLE IF NOT EXISTS objects (
	content INTEGER NOT NULL REFERENCES contents (id) ON DELETE RESTRICT,
	seq INTEGER NOT NULL,
	name TEXT NOT NULL UNIQUE CHECK (length(name) <= 255),
	size INTEGER CHECK (size >= 0),
	created_at INTEGER NOT NULL,
	PRIMARY KEY (content, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS blobs (
	digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) <= 65),
	content INTEGER NOT NULL UNIQUE REFERENCES contents (id) ON DELETE RESTRICT,
	size INTEGER NOT NULL CHECK (size >= 0),
	created_at INTEGER NOT NULL,
	damaged_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS repo_blobs (
	repo INTEGER NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	digest BLOB NOT NULL REFERENCES blobs (digest) ON DELETE RESTRICT,
	linked_at INTEGER NOT NULL,
	PRIMARY KEY (repo, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS repo_blobs_digest ON repo_blobs (digest);

CREATE TABLE IF NOT EXISTS manifests (
	repo INTEGER NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	media_type TEXT NOT NULL CHECK (length(media_type) <= 255),
	artifact_type TEXT NOT NULL CHECK (length(artifact_type) <= 255),
	subject BLOB CHECK (length(subject) <= 65),
	size INTEGER NOT NULL CHECK (size >= 0),
	body BLOB NOT NULL CHECK (length(body) <= 4194304),
	pushed_at INTEGER NOT NULL,
	PRIMARY KEY (repo, digest)
) STRICT;
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (repo, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE IF NOT EXISTS manifest_blobs (
	repo INTEGER NOT NULL,
	manifest BLOB NOT NULL,
	digest BLOB NOT NULL,
	PRIMARY KEY (repo, manifest, digest),
	FOREIGN KEY (repo, manifest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, digest) REFERENCES repo_blobs (repo, digest) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifest_blobs_digest ON manifest_blobs (repo, digest);

-- Children of an index that are present; absent ones (sparse indexes) are in manifest_absent until they come.
CREATE TABLE IF NOT EXISTS manifest_children (
	repo INTEGER NOT NULL,
	parent BLOB NOT NULL,
	child BLOB NOT NULL,
	PRIMARY KEY (repo, parent, child),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, child) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifest_children_child ON manifest_children (repo, child);

CREATE TABLE IF NOT EXISTS manifest_absent (
	repo INTEGER NOT NULL,
	parent BLOB NOT NULL,
	child BLOB NOT NULL CHECK (length(child) <= 65),
	PRIMARY KEY (repo, child, parent),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifest_absent_parent ON manifest_absent (repo, parent);

CREATE TABLE IF NOT EXISTS tags (
	repo INTEGER NOT NULL,
	name TEXT NOT NULL CHECK (length(name) <= 128),
	digest BLOB NOT NULL,
	moved_at INTEGER NOT NULL,
	PRIMARY KEY (repo, name),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_digest ON tags (repo, digest);

-- seq is how many objects are settled. A done upload (done_at set) has no content any more: a blob or the list of the dead has it.
CREATE TABLE IF NOT EXISTS uploads (
	id TEXT NOT NULL PRIMARY KEY CHECK (length(id) <= 64),
	repo INTEGER NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	subject TEXT NOT NULL CHECK (length(subject) <= 255),
	algorithm INTEGER NOT NULL,
	content INTEGER UNIQUE REFERENCES contents (id) ON DELETE RESTRICT,
	off INTEGER NOT NULL CHECK (off >= 0),
	seq INTEGER NOT NULL,
	hash BLOB CHECK (length(hash) <= 1024),
	active_at INTEGER NOT NULL,
	op TEXT CHECK (length(op) <= 64),
	done_digest BLOB CHECK (length(done_digest) <= 65),
	done_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_due ON uploads (done_at, active_at);
CREATE INDEX IF NOT EXISTS uploads_subject ON uploads (subject, done_at);
CREATE INDEX IF NOT EXISTS uploads_repo ON uploads (repo);

CREATE TABLE IF NOT EXISTS dead (
	content INTEGER NOT NULL PRIMARY KEY REFERENCES contents (id) ON DELETE RESTRICT,
	not_before INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS dead_due ON dead (not_before);

-- What may be garbage, to be looked at when due. kind 1: manifest, 2: link of a repository to a blob, 3: blob (repo is 0).
CREATE TABLE IF NOT EXISTS review (
	kind INTEGER NOT NULL,
	repo INTEGER NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	due INTEGER NOT NULL,
	PRIMARY KEY (kind, repo, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS review_due ON review (due);

-- Appended by each node; the sweep folds it into pull_totals. No keys: a count may outlive what it counted.
CREATE TABLE IF NOT EXISTS pulls (
	id INTEGER NOT NULL PRIMARY KEY,
	repo INTEGER NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	tag TEXT NOT NULL CHECK (length(tag) <= 128),
	node INTEGER NOT NULL,
	at INTEGER NOT NULL,
	n INTEGER NOT NULL
) STRICT;

-- tag is '' for all pulls of the manifest, by tag or not.
CREATE TABLE IF NOT EXISTS pull_totals (
	repo INTEGER NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	tag TEXT NOT NULL CHECK (length(tag) <= 128),
	n INTEGER NOT NULL,
	last_at INTEGER NOT NULL,
	PRIMARY KEY (repo, digest, tag)
) STRICT, WITHOUT ROWID;
