-- How many bytes a project may have. A project without a row has as many as there are. held: those that are counted, and those that slices and uploads may still use. Statements may run twice.
CREATE TABLE IF NOT EXISTS quotas (
	project BIGINT NOT NULL PRIMARY KEY REFERENCES projects (id) ON DELETE RESTRICT,
	limit_bytes BIGINT NOT NULL CHECK (limit_bytes >= 0),
	held BIGINT NOT NULL CHECK (held >= 0),
	counts SMALLINT NOT NULL,
	counted_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS quotas_due ON quotas (counts, counted_at);

-- A piece of a quota that one incarnation of a node gives out. What is counted against it, and not folded yet, has its id.
CREATE TABLE IF NOT EXISTS quota_slices (
	id BIGINT NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL REFERENCES quotas (project) ON DELETE RESTRICT,
	node BIGINT NOT NULL,
	bytes BIGINT NOT NULL CHECK (bytes >= 0)
);
CREATE INDEX IF NOT EXISTS quota_slices_project ON quota_slices (project);

-- What a project has, blobs and manifests, each once; repos: in how many of its repositories. slice NULL: it is counted in held by itself.
CREATE TABLE IF NOT EXISTS quota_charges (
	project BIGINT NOT NULL,
	digest BYTEA NOT NULL CHECK (length(digest) <= 65),
	size BIGINT NOT NULL CHECK (size >= 0),
	repos BIGINT NOT NULL CHECK (repos >= 0),
	checked BIGINT NOT NULL,
	slice BIGINT REFERENCES quota_slices (id) ON DELETE RESTRICT,
	PRIMARY KEY (project, digest)
);
CREATE INDEX IF NOT EXISTS quota_charges_slice ON quota_charges (slice);

-- What uploads under way have received, of projects with a quota.
CREATE TABLE IF NOT EXISTS quota_holds (
	upload VARCHAR(64) COLLATE "C" NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL,
	bytes BIGINT NOT NULL CHECK (bytes >= 0),
	slice BIGINT REFERENCES quota_slices (id) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS quota_holds_project ON quota_holds (project);
CREATE INDEX IF NOT EXISTS quota_holds_slice ON quota_holds (slice);
