-- Who may do what. Numbers are small and count from 1: people and programs of Harbor's see them. Statements may run twice.
CREATE TABLE IF NOT EXISTS numbers (
	kind TEXT NOT NULL PRIMARY KEY CHECK (length(kind) <= 32),
	last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What administrators set while Havn runs. Secrets are sealed. The row 'version' of numbers rises with each change.
CREATE TABLE IF NOT EXISTS settings (
	k TEXT NOT NULL PRIMARY KEY CHECK (length(k) <= 128),
	v TEXT NOT NULL CHECK (length(v) <= 16777215),
	changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is told of a user besides the account. A user without a row is local. subject is NULL for local ones; token is the sealed refresh token of an identity provider.
-- gone: the directory did not know him when it was asked last, at seen_at.
CREATE TABLE IF NOT EXISTS profiles (
	user_id INTEGER NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE RESTRICT,
	origin TEXT NOT NULL CHECK (origin IN ('local', 'ldap', 'oidc')),
	subject TEXT CHECK (length(subject) <= 700),
	realname TEXT NOT NULL CHECK (length(realname) <= 255),
	comment TEXT NOT NULL CHECK (length(comment) <= 255),
	origin_admin INTEGER NOT NULL CHECK (origin_admin IN (0, 1)),
	gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
	token TEXT CHECK (length(token) <= 16777215),
	seen_at INTEGER NOT NULL,
	UNIQUE (origin, subject)
) STRICT;
CREATE INDEX IF NOT EXISTS profiles_seen ON profiles (origin, seen_at, user_id);

-- Groups of directories and identity providers that Havn has heard of.
CREATE TABLE IF NOT EXISTS user_groups (
	id INTEGER NOT NULL PRIMARY KEY,
	origin TEXT NOT NULL CHECK (origin IN ('ldap', 'oidc', 'http')),
	k TEXT NOT NULL CHECK (length(k) <= 700),
	name TEXT NOT NULL CHECK (length(name) <= 255),
	created_at INTEGER NOT NULL,
	UNIQUE (origin, k)
) STRICT;
CREATE INDEX IF NOT EXISTS user_groups_name ON user_groups (name);

CREATE TABLE IF NOT EXISTS group_users (
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	group_id INTEGER NOT NULL REFERENCES user_groups (id) ON DELETE RESTRICT,
	PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS group_users_group ON group_users (group_id);

-- What is told of a project besides its name. A project without a row was made by an earlier version.
CREATE TABLE IF NOT EXISTS project_details (
	project INTEGER NOT NULL PRIMARY KEY REFERENCES projects (id) ON DELETE RESTRICT,
	owner INTEGER REFERENCES users (id) ON DELETE RESTRICT,
	changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS project_details_owner ON project_details (owner);

CREATE TABLE IF NOT EXISTS project_metadata (
	project INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	k TEXT NOT NULL CHECK (length(k) <= 64),
	v TEXT NOT NULL CHECK (length(v) <= 65535),
	PRIMARY KEY (project, k)
) STRICT, WITHOUT ROWID;

-- Of user_id and group_id one is set. role: 1 project admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest.
CREATE TABLE IF NOT EXISTS members (
	id INTEGER NOT NULL PRIMARY KEY,
	project INTEGER NOT NULL REFERENCES projects (id) ON DELETE RESTRICT,
	user_id INTEGER REFERENCES users (id) ON DELETE RESTRICT,
	group_id INTEGER REFERENCES user_groups (id) ON DELETE RESTRICT,
	role INTEGER NOT NULL CHECK (role BETWEEN 1 AND 5),
	created_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL,
	UNIQUE (user_id, project),
	UNIQUE (group_id, project),
	CHECK ((user_id IS NULL) <> (group_id IS NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS members_project ON members (project, id);

-- scope is the project, or 0 for the system's. secret is a keyed hash. expires_at NULL: never. creator is a user or a robot, as creator_type ('local', 'robot') says; no key: the robot outlives him.
CREATE TABLE IF NOT EXISTS robots (
	id INTEGER NOT NULL PRIMARY KEY,
	scope INTEGER NOT NULL,
	project INTEGER REFERENCES projects (id) ON DELETE RESTRICT,
	name TEXT NOT NULL CHECK (length(name) <= 255),
	description TEXT NOT NULL CHECK (length(description) <= 1024),
	secret BLOB NOT NULL CHECK (length(secret) <= 64),
	disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
	duration INTEGER NOT NULL,
	expires_at INTEGER,
	creator_type TEXT NOT NULL CHECK (length(creator_type) <= 8),
	creator INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL,
	UNIQUE (scope, name)
) STRICT;
CREATE INDEX IF NOT EXISTS robots_project ON robots (project);

-- scope: 0 the system, -1 all projects, else a project, which project repeats for its key.
CREATE TABLE IF NOT EXISTS robot_permissions (
	robot INTEGER NOT NULL REFERENCES robots (id) ON DELETE RESTRICT,
	scope INTEGER NOT NULL,
	project INTEGER REFERENCES projects (id) ON DELETE RESTRICT,
	resource TEXT NOT NULL CHECK (length(resource) <= 64),
	action TEXT NOT NULL CHECK (length(action) <= 32),
	effect TEXT NOT NULL CHECK (length(effect) <= 8),
	PRIMARY KEY (robot, scope, resource, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS robot_permissions_project ON robot_permissions (project);

-- Personal access tokens; the one named '' is the user's CLI secret. secret is a keyed hash.
CREATE TABLE IF NOT EXISTS user_tokens (
	id INTEGER NOT NULL PRIMARY KEY,
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	name TEXT NOT NULL CHECK (length(name) <= 255),
	secret BLOB NOT NULL CHECK (length(secret) <= 64),
	created_at INTEGER NOT NULL,
	expires_at INTEGER,
	used_at INTEGER NOT NULL,
	UNIQUE (user_id, name)
) STRICT;

-- Browsers that are logged in. id is a hash of what the cookie holds; version is the user's changed_at at the login.
CREATE TABLE IF NOT EXISTS sessions (
	id BLOB NOT NULL PRIMARY KEY CHECK (length(id) <= 64),
	user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
	version INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	active_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	addr TEXT NOT NULL CHECK (length(addr) <= 64),
	agent TEXT NOT NULL CHECK (length(agent) <= 255)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_user ON sessions (user_id);
CREATE INDEX IF NOT EXISTS sessions_due ON sessions (expires_at);

-- Tokens of a user or a robot (of the two one is 0) that tell an older version of its row (changed_at) than before_at are withdrawn. Ids rise in the order of the commits: nodes look for new rows.
-- A row goes when no such token can live any more. No keys: it outlives whom it is about.
CREATE TABLE IF NOT EXISTS revocations (
	id INTEGER NOT NULL PRIMARY KEY,
	user_id INTEGER NOT NULL,
	robot INTEGER NOT NULL,
	subject TEXT NOT NULL CHECK (length(subject) <= 255),
	before_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS revocations_before ON revocations (before_at);

-- scope is the project, or 0 for all of them.
CREATE TABLE IF NOT EXISTS labels (
	id INTEGER NOT NULL PRIMARY KEY,
	scope INTEGER NOT NULL,
	project INTEGER REFERENCES projects (id) ON DELETE RESTRICT,
	name TEXT NOT NULL CHECK (length(name) <= 128),
	description TEXT NOT NULL CHECK (length(description) <= 1024),
	color TEXT NOT NULL CHECK (length(color) <= 16),
	created_at INTEGER NOT NULL,
	changed_at INTEGER NOT NULL,
	UNIQUE (scope, name)
) STRICT;
CREATE INDEX IF NOT EXISTS labels_project ON labels (project);

CREATE TABLE IF NOT EXISTS manifest_labels (
	repo INTEGER NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) <= 65),
	label INTEGER NOT NULL REFERENCES labels (id) ON DELETE RESTRICT,
	PRIMARY KEY (repo, digest, label),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifest_labels_label ON manifest_labels (label);

-- A description that people wrote for a repository.
CREATE TABLE IF NOT EXISTS repository_notes (
	repo INTEGER NOT NULL PRIMARY KEY REFERENCES repositories (id) ON DELETE RESTRICT,
	description TEXT NOT NULL CHECK (length(description) <= 16777215)
) STRICT;

-- Who did what. Appended only; id rises with time. No keys: a line outlives what it tells of.
CREATE TABLE IF NOT EXISTS audit (
	id INTEGER NOT NULL PRIMARY KEY,
	at INTEGER NOT NULL,
	subject TEXT NOT NULL CHECK (length(subject) <= 255),
	operation TEXT NOT NULL CHECK (length(operation) <= 32),
	kind TEXT NOT NULL CHECK (length(kind) <= 32),
	resource TEXT NOT NULL CHECK (length(resource) <= 1024),
	project INTEGER NOT NULL,
	addr TEXT NOT NULL CHECK (length(addr) <= 64),
	ok INTEGER NOT NULL CHECK (ok IN (0, 1)),
	note TEXT NOT NULL CHECK (length(note) <= 1024)
) STRICT;
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
CREATE INDEX IF NOT EXISTS audit_project ON audit (project, id);
