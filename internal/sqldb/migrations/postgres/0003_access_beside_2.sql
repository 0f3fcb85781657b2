-- Who may do what. Numbers are small and count from 1: people and programs of Harbor's see them. Statements may run twice.
CREATE TABLE IF NOT EXISTS numbers (
	kind VARCHAR(32) COLLATE "C" NOT NULL PRIMARY KEY,
	last BIGINT NOT NULL
);

-- What administrators set while Havn runs. Secrets are sealed. The row 'version' of numbers rises with each change.
CREATE TABLE IF NOT EXISTS settings (
	k VARCHAR(128) COLLATE "C" NOT NULL PRIMARY KEY,
	v TEXT COLLATE "C" NOT NULL,
	changed_at BIGINT NOT NULL
);

-- What is told of a user besides the account. A user without a row is local. subject is NULL for local ones; token is the sealed refresh token of an identity provider.
-- gone: the directory did not know him when it was asked last, at seen_at.
CREATE TABLE IF NOT EXISTS profiles (
	user_id BIGINT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE RESTRICT,
	origin VARCHAR(8) COLLATE "C" NOT NULL CHECK (origin IN ('local', 'ldap', 'oidc')),
	subject VARCHAR(700) COLLATE "C",
	realname VARCHAR(255) COLLATE "C" NOT NULL,
	comment VARCHAR(255) COLLATE "C" NOT NULL,
	origin_admin BOOLEAN NOT NULL,
	gone BOOLEAN NOT NULL,
	token TEXT COLLATE "C",
	seen_at BIGINT NOT NULL,
	UNIQUE (origin, subject)
);
CREATE INDEX IF NOT EXISTS profiles_seen ON profiles (origin, seen_at, user_id);

-- Groups of directories and identity providers that Havn has heard of.
CREATE TABLE IF NOT EXISTS user_groups (
	id BIGINT NOT NULL PRIMARY KEY,
	origin VARCHAR(8) COLLATE "C" NOT NULL CHECK (origin IN ('ldap', 'oidc', 'http')),
	k VARCHAR(700) COLLATE "C" NOT NULL,
	name VARCHAR(255) COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE (origin, k)
);
CREATE INDEX IF NOT EXISTS user_groups_name ON user_groups (name);

CREATE TABLE IF NOT EXISTS group_users (
	user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	group_id BIGINT NOT NULL REFERENCES user_groups (id) ON DELETE RESTRICT,
	PRIMARY KEY (user_id, group_id)
);
CREATE INDEX IF NOT EXISTS group_users_group ON group_users (group_id);

-- What is told of a project besides its name. A project without a row was made by an earlier version.
CREATE TABLE IF NOT EXISTS project_details (
	project BIGINT NOT NULL PRIMARY KEY REFERENCES projects (id) ON DELETE RESTRICT,
	owner BIGINT REFERENCES users (id) ON DELETE RESTRICT,
	changed_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS project_details_owner ON project_details (owner);

CREATE TABLE IF NOT EXISTS project_metadata (
	project BIGINT NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	k VARCHAR(64) COLLATE "C" NOT NULL,
	v TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (project, k)
);

-- Of user_id and group_id one is set. role: 1 project admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest.
CREATE TABLE IF NOT EXISTS members (
	id BIGINT NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	user_id BIGINT REFERENCES users (id) ON DELETE RESTRICT,
	group_id BIGINT REFERENCES user_groups (id) ON DELETE RESTRICT,
	role SMALLINT NOT NULL CHECK (role BETWEEN 1 AND 5),
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE (user_id, project),
	UNIQUE (group_id, project),
	CHECK ((user_id IS NULL) <> (group_id IS NULL))
);
CREATE INDEX IF NOT EXISTS members_project ON members (project, id);

-- scope is the project, or 0 for the system's. secret is a keyed hash. expires_at NULL: never. creator is a user or a robot, as creator_type ('local', 'robot') says; no key: the robot outlives him.
CREATE TABLE IF NOT EXISTS robots (
	id BIGINT NOT NULL PRIMARY KEY,
	scope BIGINT NOT NULL,
	project BIGINT REFERENCES projects (id) ON DELETE RESTRICT,
	name VARCHAR(255) COLLATE "C" NOT NULL,
	description VARCHAR(1024) COLLATE "C" NOT NULL,
	secret BYTEA NOT NULL CHECK (length(secret) <= 64),
	disabled BOOLEAN NOT NULL,
	duration BIGINT NOT NULL,
	expires_at BIGINT,
	creator_type VARCHAR(8) COLLATE "C" NOT NULL,
	creator BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE (scope, name)
);
CREATE INDEX IF NOT EXISTS robots_project ON robots (project);

-- scope: 0 the system, -1 all projects, else a project, which project repeats for its key.
CREATE TABLE IF NOT EXISTS robot_permissions (
	robot BIGINT NOT NULL REFERENCES robots (id) ON DELETE RESTRICT,
	scope BIGINT NOT NULL,
	project BIGINT REFERENCES projects (id) ON DELETE RESTRICT,
	resource VARCHAR(64) COLLATE "C" NOT NULL,
	action VARCHAR(32) COLLATE "C" NOT NULL,
	effect VARCHAR(8) COLLATE "C" NOT NULL,
	PRIMARY KEY (robot, scope, resource, action)
);
CREATE INDEX IF NOT EXISTS robot_permissions_project ON robot_permissions (project);

-- Personal access tokens; the one named '' is the user's CLI secret. secret is a keyed hash.
CREATE TABLE IF NOT EXISTS user_tokens (
	id BIGINT NOT NULL PRIMARY KEY,
	user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	name VARCHAR(255) COLLATE "C" NOT NULL,
	secret BYTEA NOT NULL CHECK (length(secret) <= 64),
	created_at BIGINT NOT NULL,
	expires_at BIGINT,
	used_at BIGINT NOT NULL,
	UNIQUE (user_id, name)
);

-- Browsers that are logged in. id is a hash of what the cookie holds; version is the user's changed_at at the login.
CREATE TABLE IF NOT EXISTS sessions (
	id BYTEA NOT NULL PRIMARY KEY CHECK (length(id) <= 64),
	user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	version BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	active_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	addr VARCHAR(64) COLLATE "C" NOT NULL,
	agent VARCHAR(255) COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id);
CREATE INDEX IF NOT EXISTS sessions_due ON sessions (expires_at);

-- Tokens of a user or a robot (of the two one is 0) that tell an older version of its row (changed_at) than before_at are withdrawn. Ids rise in the order of the commits: nodes look for new rows.
-- A row goes when no such token can live any more. No keys: it outlives whom it is about.
CREATE TABLE IF NOT EXISTS revocations (
	id BIGINT NOT NULL PRIMARY KEY,
	user_id BIGINT NOT NULL,
	robot BIGINT NOT NULL,
	subject VARCHAR(255) COLLATE "C" NOT NULL,
	before_at BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS revocations_before ON revocations (before_at);

-- scope is the project, or 0 for all of them.
CREATE TABLE IF NOT EXISTS labels (
	id BIGINT NOT NULL PRIMARY KEY,
	scope BIGINT NOT NULL,
	project BIGINT REFERENCES projects (id) ON DELETE RESTRICT,
	name VARCHAR(128) COLLATE "C" NOT NULL,
	description VARCHAR(1024) COLLATE "C" NOT NULL,
	color VARCHAR(16) COLLATE "C" NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE (scope, name)
);
CREATE INDEX IF NOT EXISTS labels_project ON labels (project);

CREATE TABLE IF NOT EXISTS manifest_labels (
	repo BIGINT NOT NULL,
	digest BYTEA NOT NULL CHECK (length(digest) <= 65),
	label BIGINT NOT NULL REFERENCES labels (id) ON DELETE RESTRICT,
	PRIMARY KEY (repo, digest, label),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
);
CREATE INDEX IF NOT EXISTS manifest_labels_label ON manifest_labels (label);

-- A description that people wrote for a repository.
CREATE TABLE IF NOT EXISTS repository_notes (
	repo BIGINT NOT NULL PRIMARY KEY REFERENCES repositories (id) ON DELETE RESTRICT,
	description TEXT COLLATE "C" NOT NULL
);

-- Who did what. Appended only; id rises with time. No keys: a line outlives what it tells of.
CREATE TABLE IF NOT EXISTS audit (
	id BIGINT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	subject VARCHAR(255) COLLATE "C" NOT NULL,
	operation VARCHAR(32) COLLATE "C" NOT NULL,
	kind VARCHAR(32) COLLATE "C" NOT NULL,
	resource VARCHAR(1024) COLLATE "C" NOT NULL,
	project BIGINT NOT NULL,
	addr VARCHAR(64) COLLATE "C" NOT NULL,
	ok BOOLEAN NOT NULL,
	note VARCHAR(1024) COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
CREATE INDEX IF NOT EXISTS audit_project ON audit (project, id);
