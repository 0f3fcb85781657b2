-- The registry's rows. Times are microseconds since 1970 UTC; digests are bytes with the algorithm in front; ids are random.
-- Every key is RESTRICT: what is referred to can't be deleted. Statements may run twice.

CREATE TABLE IF NOT EXISTS meta (
	k VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	v TEXT COLLATE "C" NOT NULL
);

CREATE TABLE IF NOT EXISTS nodes (
	id BIGINT NOT NULL PRIMARY KEY,
	started_at BIGINT NOT NULL,
	beat BIGINT NOT NULL,
	beat_at BIGINT NOT NULL,
	state VARCHAR(8) COLLATE "C" NOT NULL CHECK (state IN ('alive', 'dead', 'left')),
	version VARCHAR(64) COLLATE "C" NOT NULL,
	addr VARCHAR(255) COLLATE "C" NOT NULL
);

-- A duty held by an incarnation of a node. owner 0: nobody.
CREATE TABLE IF NOT EXISTS claims (
	name VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	owner BIGINT NOT NULL,
	epoch BIGINT NOT NULL,
	note VARCHAR(255) COLLATE "C" NOT NULL
);

-- Operations that were applied: a second run finds its row taken.
CREATE TABLE IF NOT EXISTS ops (
	op VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS ops_at ON ops (at);

CREATE TABLE IF NOT EXISTS users (
	id BIGINT NOT NULL PRIMARY KEY,
	name VARCHAR(255) COLLATE "C" NOT NULL UNIQUE,
	email VARCHAR(255) COLLATE "C",
	password_hash VARCHAR(255) COLLATE "C" NOT NULL,
	admin BOOLEAN NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS projects (
	id BIGINT NOT NULL PRIMARY KEY,
	name VARCHAR(255) COLLATE "C" NOT NULL UNIQUE,
	public BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS repositories (
	id BIGINT NOT NULL PRIMARY KEY,
	project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	name VARCHAR(255) COLLATE "C" NOT NULL UNIQUE,
	created_at BIGINT NOT NULL,
	pushed_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS repositories_project ON repositories (project_id, name);

CREATE TABLE IF NOT EXISTS contents (
	id BIGINT NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL
);

-- An object is settled when it is part of what was received: seq counts from 0 and size is set. While it is written, seq is a random negative number
-- and size is NULL.
CREATE TABLE IF NOT EXISTS objects (
	content BIGINT NOT NULL REFERENCES contents (id) ON DELETE RESTRICT,
	seq BIGINT NOT NULL,
	name VARCHAR(255) COLLATE "C" NOT NULL UNIQUE,
	size BIGINT CHECK (size >= 0),
	created_at BIGINT NOT NULL,
	PRIMARY KEY (content, seq)
);

CREATE TABLE IF NOT EXISTS blobs (
	digest BYTEA NOT NULL PRIMARY KEY CHECK (octet_length(digest) <= 65),
	content BIGINT NOT NULL UNIQUE REFERENCES contents (id) ON DELETE RESTRICT,
	size BIGINT NOT NULL CHECK (size >= 0),
	created_at BIGINT NOT NULL,
	damaged_at BIGINT
);

CREATE TABLE IF NOT EXISTS repo_blobs (
	repo BIGINT NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	digest BYTEA NOT NULL REFERENCES blobs (digest) ON DELETE RESTRICT,
	linked_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest)
);
CREATE INDEX IF NOT EXISTS repo_blobs_digest ON repo_blobs (digest);

CREATE TABLE IF NOT EXISTS manifests (
	repo BIGINT NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	digest BYTEA NOT NULL CHECK (octet_length(digest) <= 65),
	media_type VARCHAR(255) COLLATE "C" NOT NULL,
	artifact_type VARCHAR(255) COLLATE "C" NOT NULL,
	subject BYTEA CHECK (octet_length(subject) <= 65),
	size BIGINT NOT NULL CHECK (size >= 0),
	body BYTEA NOT NULL CHECK (octet_length(body) <= 4194304),
	pushed_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest)
);
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (repo, subject, digest) WHERE subject IS NOT NULL;

CREATE TABLE IF NOT EXISTS manifest_blobs (
	repo BIGINT NOT NULL,
	manifest BYTEA NOT NULL,
	digest BYTEA NOT NULL,
	PRIMARY KEY (repo, manifest, digest),
	FOREIGN KEY (repo, manifest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, digest) REFERENCES repo_blobs (repo, digest) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS manifest_blobs_digest ON manifest_blobs (repo, digest);

-- Children of an index that are present; absent ones (sparse indexes) are in manifest_absent until they come.
CREATE TABLE IF NOT EXISTS manifest_children (
	repo BIGINT NOT NULL,
	parent BYTEA NOT NULL,
	child BYTEA NOT NULL,
	PRIMARY KEY (repo, parent, child),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, child) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS manifest_children_child ON manifest_children (repo, child);

CREATE TABLE IF NOT EXISTS manifest_absent (
	repo BIGINT NOT NULL,
	parent BYTEA NOT NULL,
	child BYTEA NOT NULL CHECK (octet_length(child) <= 65),
	PRIMARY KEY (repo, child, parent),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS manifest_absent_parent ON manifest_absent (repo, parent);

CREATE TABLE IF NOT EXISTS tags (
	repo BIGINT NOT NULL,
	name VARCHAR(128) COLLATE "C" NOT NULL,
	digest BYTEA NOT NULL,
	moved_at BIGINT NOT NULL,
	PRIMARY KEY (repo, name),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS tags_digest ON tags (repo, digest);

-- seq is how many objects are settled. A done upload (done_at set) has no content any more: a blob or the list of the dead has it.
CREATE TABLE IF NOT EXISTS uploads (
	id VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	repo BIGINT NOT NULL REFERENCES repositories (id) ON DELETE RESTRICT,
	subject VARCHAR(255) COLLATE "C" NOT NULL,
	algorithm SMALLINT NOT NULL,
	content BIGINT UNIQUE REFERENCES contents (id) ON DELETE RESTRICT,
	off BIGINT NOT NULL CHECK (off >= 0),
	seq BIGINT NOT NULL,
	hash BYTEA CHECK (octet_length(hash) <= 1024),
	active_at BIGINT NOT NULL,
	op VARCHAR(64) COLLATE "C",
	done_digest BYTEA CHECK (octet_length(done_digest) <= 65),
	done_at BIGINT
);
CREATE INDEX IF NOT EXISTS uploads_due ON uploads (done_at, active_at);
CREATE INDEX IF NOT EXISTS uploads_subject ON uploads (subject, done_at);
CREATE INDEX IF NOT EXISTS uploads_repo ON uploads (repo);

CREATE TABLE IF NOT EXISTS dead (
	content BIGINT NOT NULL PRIMARY KEY REFERENCES contents (id) ON DELETE RESTRICT,
	not_before BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_due ON dead (not_before);

-- What may be garbage, to be looked at when due. kind 1: manifest, 2: link of a repository to a blob, 3: blob (repo is 0).
CREATE TABLE IF NOT EXISTS review (
	kind SMALLINT NOT NULL,
	repo BIGINT NOT NULL,
	digest BYTEA NOT NULL CHECK (octet_length(digest) <= 65),
	due BIGINT NOT NULL,
	PRIMARY KEY (kind, repo, digest)
);
CREATE INDEX IF NOT EXISTS review_due ON review (due);

-- Appended by each node; the sweep folds it into pull_totals. No keys: a count may outlive what it counted.
CREATE TABLE IF NOT EXISTS pulls (
	id BIGINT NOT NULL PRIMARY KEY,
	repo BIGINT NOT NULL,
	digest BYTEA NOT NULL CHECK (octet_length(digest) <= 65),
	tag VARCHAR(128) COLLATE "C" NOT NULL,
	node BIGINT NOT NULL,
	at BIGINT NOT NULL,
	n BIGINT NOT NULL
);

-- tag is '' for all pulls of the manifest, by tag or not.
CREATE TABLE IF NOT EXISTS pull_totals (
	repo BIGINT NOT NULL,
	digest BYTEA NOT NULL CHECK (octet_length(digest) <= 65),
	tag VARCHAR(128) COLLATE "C" NOT NULL,
	n BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest, tag)
);
