-- How many bytes a project may have. A project without a row has as many as there are. held: those that are counted, and those that slices and uploads may still use. Statements may run twice.
CREATE TABLE IF NOT EXISTS quotas (
	project BIGINT NOT NULL PRIMARY KEY,
	limit_bytes BIGINT NOT NULL CHECK (limit_bytes >= 0),
	held BIGINT NOT NULL CHECK (held >= 0),
	counts SMALLINT NOT NULL,
	counted_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	KEY quotas_due (counts, counted_at),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A piece of a quota that one incarnation of a node gives out. What is counted against it, and not folded yet, has its id.
CREATE TABLE IF NOT EXISTS quota_slices (
	id BIGINT NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL,
	node BIGINT NOT NULL,
	bytes BIGINT NOT NULL CHECK (bytes >= 0),
	KEY quota_slices_project (project),
	FOREIGN KEY (project) REFERENCES quotas (project) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What a project has, blobs and manifests, each once; repos: in how many of its repositories. slice NULL: it is counted in held by itself.
CREATE TABLE IF NOT EXISTS quota_charges (
	project BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	size BIGINT NOT NULL CHECK (size >= 0),
	repos BIGINT NOT NULL CHECK (repos >= 0),
	checked BIGINT NOT NULL,
	slice BIGINT,
	PRIMARY KEY (project, digest),
	KEY quota_charges_slice (slice),
	FOREIGN KEY (slice) REFERENCES quota_slices (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What uploads under way have received, of projects with a quota.
CREATE TABLE IF NOT EXISTS quota_holds (
	upload VARCHAR(64) NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL,
	bytes BIGINT NOT NULL CHECK (bytes >= 0),
	slice BIGINT,
	KEY quota_holds_project (project),
	KEY quota_holds_slice (slice),
	FOREIGN KEY (slice) REFERENCES quota_slices (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
