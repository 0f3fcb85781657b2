-- How many bytes a project may have. A project without a row has as many as there are. held: those that are counted, and those that slices and uploads may still use. Statements may run twice.
CREATE TABLE IF NOT EXISTS quotas (
	project INTEGER NOT NULL PRIMARY KEY REFERENCES projects (id) ON DELETE RESTRICT,
	limit_bytes INTEGER NOT NULL CHECK (limit_bytes >= 0),
	held INTEGER NOT NULL CHECK (held >= 0),
	counts INTEGER NOT NULL,
	counted_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS quotas_due ON quotas (counts, counted_at);

-- A piece of a quota that one incarnation of a node gives out. What is counted against it, and not folded yet, has its id.
CREATE TABLE IF NOT EXISTS quota_slices (
	id INTEGER NOT NULL PRIMARY KEY,
	project INTEGER NOT NULL REFERENCES quotas (project) ON DELETE RESTRICT,
	node INTEGER NOT NULL,
	bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;
CREATE INDEX IF NOT EXISTS quota_slices_project ON quota_slices (project);

-- What a project has, blobs and manifests, each once; repos: in how many of its repositories. slice NULL: it is counted in held by itself.
CREATE TABLE IF NOT EXISTS quota_charges (
	project INTEGER NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	size INTEGER NOT NULL CHECK (size >= 0),
	repos INTEGER NOT NULL CHECK (repos >= 0),
	checked INTEGER NOT NULL,
	slice INTEGER REFERENCES quota_slices (id) ON DELETE RESTRICT,
	PRIMARY KEY (project, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS quota_charges_slice ON quota_charges (slice);

-- What uploads under way have received, of projects with a quota.
CREATE TABLE IF NOT EXISTS quota_holds (
	upload TEXT NOT NULL PRIMARY KEY CHECK (length(upload) <= 64),
	project INTEGER NOT NULL,
	bytes INTEGER NOT NULL CHECK (bytes >= 0),
	slice INTEGER REFERENCES quota_slices (id) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS quota_holds_project ON quota_holds (project);
CREATE INDEX IF NOT EXISTS quota_holds_slice ON quota_holds (slice);
