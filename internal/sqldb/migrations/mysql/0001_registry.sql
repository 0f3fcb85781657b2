-- The registry's rows. Times are microseconds since 1970 UTC; digests are bytes with the algorithm in front; ids are random.
-- Every key is RESTRICT: what is referred to can't be deleted. Statements may run twice.

CREATE TABLE IF NOT EXISTS meta (
	k VARCHAR(64) NOT NULL PRIMARY KEY,
	v MEDIUMTEXT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS nodes (
	id BIGINT NOT NULL PRIMARY KEY,
	started_at BIGINT NOT NULL,
	beat BIGINT NOT NULL,
	beat_at BIGINT NOT NULL,
	state VARCHAR(8) NOT NULL CHECK (state IN ('alive', 'dead', 'left')),
	version VARCHAR(64) NOT NULL,
	addr VARCHAR(255) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A duty held by an incarnation of a node. owner 0: nobody.
CREATE TABLE IF NOT EXISTS claims (
	name VARCHAR(64) NOT NULL PRIMARY KEY,
	owner BIGINT NOT NULL,
	epoch BIGINT NOT NULL,
	note VARCHAR(255) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Operations that were applied: a second run finds its row taken.
CREATE TABLE IF NOT EXISTS ops (
	op VARCHAR(64) NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	KEY ops_at (at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
	id BIGINT NOT NULL PRIMARY KEY,
	name VARCHAR(255) NOT NULL UNIQUE,
	email VARCHAR(255),
	password_hash VARCHAR(255) NOT NULL,
	admin BOOLEAN NOT NULL,
	disabled BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS projects (
	id BIGINT NOT NULL PRIMARY KEY,
	name VARCHAR(255) NOT NULL UNIQUE,
	public BOOLEAN NOT NULL,
	created_at BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS repositories (
	id BIGINT NOT NULL PRIMARY KEY,
	project_id BIGINT NOT NULL,
	name VARCHAR(255) NOT NULL UNIQUE,
	created_at BIGINT NOT NULL,
	pushed_at BIGINT NOT NULL,
	KEY repositories_project (project_id, name),
	FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS contents (
	id BIGINT NOT NULL PRIMARY KEY,
	created_at BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- An object is settled when it is part of what was received: seq counts from 0 and size is set. While it is written, seq is a random negative number
-- and size is NULL.
CREATE TABLE IF NOT EXISTS objects (
	content BIGINT NOT NULL,
	seq BIGINT NOT NULL,
	name VARCHAR(255) NOT NULL UNIQUE,
	size BIGINT CHECK (size >= 0),
	created_at BIGINT NOT NULL,
	PRIMARY KEY (content, seq),
	FOREIGN KEY (content) REFERENCES contents (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS blobs (
	digest VARBINARY(65) NOT NULL PRIMARY KEY,
	content BIGINT NOT NULL UNIQUE,
	size BIGINT NOT NULL CHECK (size >= 0),
	created_at BIGINT NOT NULL,
	damaged_at BIGINT,
	FOREIGN KEY (content) REFERENCES contents (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS repo_blobs (
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	linked_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest),
	KEY repo_blobs_digest (digest),
	FOREIGN KEY (repo) REFERENCES repositories (id) ON DELETE RESTRICT,
	FOREIGN KEY (digest) REFERENCES blobs (digest) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS manifests (
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	media_type VARCHAR(255) NOT NULL,
	artifact_type VARCHAR(255) NOT NULL,
	subject VARBINARY(65),
	size BIGINT NOT NULL CHECK (size >= 0),
	body MEDIUMBLOB NOT NULL CHECK (length(body) <= 4194304),
	pushed_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest),
	KEY manifests_subject (repo, subject, digest),
	FOREIGN KEY (repo) REFERENCES repositories (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS manifest_blobs (
	repo BIGINT NOT NULL,
	manifest VARBINARY(65) NOT NULL,
	digest VARBINARY(65) NOT NULL,
	PRIMARY KEY (repo, manifest, digest),
	KEY manifest_blobs_digest (repo, digest),
	FOREIGN KEY (repo, manifest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, digest) REFERENCES repo_blobs (repo, digest) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Children of an index that are present; absent ones (sparse indexes) are in manifest_absent until they come.
CREATE TABLE IF NOT EXISTS manifest_children (
	repo BIGINT NOT NULL,
	parent VARBINARY(65) NOT NULL,
	child VARBINARY(65) NOT NULL,
	PRIMARY KEY (repo, parent, child),
	KEY manifest_children_child (repo, child),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (repo, child) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS manifest_absent (
	repo BIGINT NOT NULL,
	parent VARBINARY(65) NOT NULL,
	child VARBINARY(65) NOT NULL,
	PRIMARY KEY (repo, child, parent),
	KEY manifest_absent_parent (repo, parent),
	FOREIGN KEY (repo, parent) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS tags (
	repo BIGINT NOT NULL,
	name VARCHAR(128) NOT NULL,
	digest VARBINARY(65) NOT NULL,
	moved_at BIGINT NOT NULL,
	PRIMARY KEY (repo, name),
	KEY tags_digest (repo, digest),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- seq is how many objects are settled. A done upload (done_at set) has no content any more: a blob or the list of the dead has it.
CREATE TABLE IF NOT EXISTS uploads (
	id VARCHAR(64) NOT NULL PRIMARY KEY,
	repo BIGINT NOT NULL,
	subject VARCHAR(255) NOT NULL,
	algorithm SMALLINT NOT NULL,
	content BIGINT UNIQUE,
	off BIGINT NOT NULL CHECK (off >= 0),
	seq BIGINT NOT NULL,
	hash VARBINARY(1024),
	active_at BIGINT NOT NULL,
	op VARCHAR(64),
	done_digest VARBINARY(65),
	done_at BIGINT,
	KEY uploads_due (done_at, active_at),
	KEY uploads_subject (subject, done_at),
	KEY uploads_repo (repo),
	FOREIGN KEY (repo) REFERENCES repositories (id) ON DELETE RESTRICT,
	FOREIGN KEY (content) REFERENCES contents (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS dead (
	content BIGINT NOT NULL PRIMARY KEY,
	not_before BIGINT NOT NULL,
	KEY dead_due (not_before),
	FOREIGN KEY (content) REFERENCES contents (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What may be garbage, to be looked at when due. kind 1: manifest, 2: link of a repository to a blob, 3: blob (repo is 0).
CREATE TABLE IF NOT EXISTS review (
	kind SMALLINT NOT NULL,
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	due BIGINT NOT NULL,
	PRIMARY KEY (kind, repo, digest),
	KEY review_due (due)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Appended by each node; the sweep folds it into pull_totals. No keys: a count may outlive what it counted.
CREATE TABLE IF NOT EXISTS pulls (
	id BIGINT NOT NULL PRIMARY KEY,
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	tag VARCHAR(128) NOT NULL,
	node BIGINT NOT NULL,
	at BIGINT NOT NULL,
	n BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- tag is '' for all pulls of the manifest, by tag or not.
CREATE TABLE IF NOT EXISTS pull_totals (
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	tag VARCHAR(128) NOT NULL,
	n BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	PRIMARY KEY (repo, digest, tag)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
