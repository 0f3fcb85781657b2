-- Who may do what. Numbers are small and count from 1: people and programs of Harbor's see them. Statements may run twice.
CREATE TABLE IF NOT EXISTS numbers (
	kind VARCHAR(32) NOT NULL PRIMARY KEY,
	last BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What administrators set while Havn runs. Secrets are sealed. The row 'version' of numbers rises with each change.
CREATE TABLE IF NOT EXISTS settings (
	k VARCHAR(128) NOT NULL PRIMARY KEY,
	v MEDIUMTEXT NOT NULL,
	changed_at BIGINT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What is told of a user besides the account. A user without a row is local. subject is NULL for local ones; token is the sealed refresh token of an identity provider.
-- gone: the directory did not know him when it was asked last, at seen_at.
CREATE TABLE IF NOT EXISTS profiles (
	user_id BIGINT NOT NULL PRIMARY KEY,
	origin VARCHAR(8) NOT NULL CHECK (origin IN ('local', 'ldap', 'oidc')),
	subject VARCHAR(700),
	realname VARCHAR(255) NOT NULL,
	comment VARCHAR(255) NOT NULL,
	origin_admin BOOLEAN NOT NULL,
	gone BOOLEAN NOT NULL,
	token MEDIUMTEXT,
	seen_at BIGINT NOT NULL,
	UNIQUE KEY profiles_subject (origin, subject),
	KEY profiles_seen (origin, seen_at, user_id),
	FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Groups of directories and identity providers that Havn has heard of.
CREATE TABLE IF NOT EXISTS user_groups (
	id BIGINT NOT NULL PRIMARY KEY,
	origin VARCHAR(8) NOT NULL CHECK (origin IN ('ldap', 'oidc', 'http')),
	k VARCHAR(700) NOT NULL,
	name VARCHAR(255) NOT NULL,
	created_at BIGINT NOT NULL,
	UNIQUE KEY user_groups_key (origin, k),
	KEY user_groups_name (name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS group_users (
	user_id BIGINT NOT NULL,
	group_id BIGINT NOT NULL,
	PRIMARY KEY (user_id, group_id),
	KEY group_users_group (group_id),
	FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
	FOREIGN KEY (group_id) REFERENCES user_groups (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What is told of a project besides its name. A project without a row was made by an earlier version.
CREATE TABLE IF NOT EXISTS project_details (
	project BIGINT NOT NULL PRIMARY KEY,
	owner BIGINT,
	changed_at BIGINT NOT NULL,
	KEY project_details_owner (owner),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT,
	FOREIGN KEY (owner) REFERENCES users (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS project_metadata (
	project BIGINT NOT NULL,
	k VARCHAR(64) NOT NULL,
	v TEXT NOT NULL,
	PRIMARY KEY (project, k),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Of user_id and group_id one is set. role: 1 project admin, 2 developer, 3 guest, 4 maintainer, 5 limited guest.
CREATE TABLE IF NOT EXISTS members (
	id BIGINT NOT NULL PRIMARY KEY,
	project BIGINT NOT NULL,
	user_id BIGINT,
	group_id BIGINT,
	role SMALLINT NOT NULL CHECK (role BETWEEN 1 AND 5),
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE KEY members_user (user_id, project),
	UNIQUE KEY members_group (group_id, project),
	KEY members_project (project, id),
	CHECK ((user_id IS NULL) <> (group_id IS NULL)),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT,
	FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
	FOREIGN KEY (group_id) REFERENCES user_groups (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- scope is the project, or 0 for the system's. secret is a keyed hash. expires_at NULL: never. creator is a user or a robot, as creator_type ('local', 'robot') says; no key: the robot outlives him.
CREATE TABLE IF NOT EXISTS robots (
	id BIGINT NOT NULL PRIMARY KEY,
	scope BIGINT NOT NULL,
	project BIGINT,
	name VARCHAR(255) NOT NULL,
	description VARCHAR(1024) NOT NULL,
	secret VARBINARY(64) NOT NULL,
	disabled BOOLEAN NOT NULL,
	duration BIGINT NOT NULL,
	expires_at BIGINT,
	creator_type VARCHAR(8) NOT NULL,
	creator BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE KEY robots_name (scope, name),
	KEY robots_project (project),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- scope: 0 the system, -1 all projects, else a project, which project repeats for its key.
CREATE TABLE IF NOT EXISTS robot_permissions (
	robot BIGINT NOT NULL,
	scope BIGINT NOT NULL,
	project BIGINT,
	resource VARCHAR(64) NOT NULL,
	action VARCHAR(32) NOT NULL,
	effect VARCHAR(8) NOT NULL,
	PRIMARY KEY (robot, scope, resource, action),
	KEY robot_permissions_project (project),
	FOREIGN KEY (robot) REFERENCES robots (id) ON DELETE RESTRICT,
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Personal access tokens; the one named '' is the user's CLI secret. secret is a keyed hash.
CREATE TABLE IF NOT EXISTS user_tokens (
	id BIGINT NOT NULL PRIMARY KEY,
	user_id BIGINT NOT NULL,
	name VARCHAR(255) NOT NULL,
	secret VARBINARY(64) NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT,
	used_at BIGINT NOT NULL,
	UNIQUE KEY user_tokens_name (user_id, name),
	FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Browsers that are logged in. id is a hash of what the cookie holds; version is the user's changed_at at the login.
CREATE TABLE IF NOT EXISTS sessions (
	id VARBINARY(64) NOT NULL PRIMARY KEY,
	user_id BIGINT NOT NULL,
	version BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	active_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	addr VARCHAR(64) NOT NULL,
	agent VARCHAR(255) NOT NULL,
	KEY sessions_user (user_id),
	KEY sessions_due (expires_at),
	FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Tokens of a user or a robot (of the two one is 0) that tell an older version of its row (changed_at) than before_at are withdrawn. Ids rise in the order of the commits: nodes look for new rows.
-- A row goes when no such token can live any more. No keys: it outlives whom it is about.
CREATE TABLE IF NOT EXISTS revocations (
	id BIGINT NOT NULL PRIMARY KEY,
	user_id BIGINT NOT NULL,
	robot BIGINT NOT NULL,
	subject VARCHAR(255) NOT NULL,
	before_at BIGINT NOT NULL,
	KEY revocations_before (before_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- scope is the project, or 0 for all of them.
CREATE TABLE IF NOT EXISTS labels (
	id BIGINT NOT NULL PRIMARY KEY,
	scope BIGINT NOT NULL,
	project BIGINT,
	name VARCHAR(128) NOT NULL,
	description VARCHAR(1024) NOT NULL,
	color VARCHAR(16) NOT NULL,
	created_at BIGINT NOT NULL,
	changed_at BIGINT NOT NULL,
	UNIQUE KEY labels_name (scope, name),
	KEY labels_project (project),
	FOREIGN KEY (project) REFERENCES projects (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS manifest_labels (
	repo BIGINT NOT NULL,
	digest VARBINARY(65) NOT NULL,
	label BIGINT NOT NULL,
	PRIMARY KEY (repo, digest, label),
	KEY manifest_labels_label (label),
	FOREIGN KEY (repo, digest) REFERENCES manifests (repo, digest) ON DELETE RESTRICT,
	FOREIGN KEY (label) REFERENCES labels (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A description that people wrote for a repository.
CREATE TABLE IF NOT EXISTS repository_notes (
	repo BIGINT NOT NULL PRIMARY KEY,
	description MEDIUMTEXT NOT NULL,
	FOREIGN KEY (repo) REFERENCES repositories (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Who did what. Appended only; id rises with time. No keys: a line outlives what it tells of.
CREATE TABLE IF NOT EXISTS audit (
	id BIGINT NOT NULL PRIMARY KEY,
	at BIGINT NOT NULL,
	subject VARCHAR(255) NOT NULL,
	operation VARCHAR(32) NOT NULL,
	kind VARCHAR(32) NOT NULL,
	resource VARCHAR(1024) NOT NULL,
	project BIGINT NOT NULL,
	addr VARCHAR(64) NOT NULL,
	ok BOOLEAN NOT NULL,
	note VARCHAR(1024) NOT NULL,
	KEY audit_at (at),
	KEY audit_project (project, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
