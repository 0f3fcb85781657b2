-- What an incarnation of a node sees of the stores, as text of its own form; only the last. Statements may run twice.
CREATE TABLE IF NOT EXISTS sights (
	node INTEGER NOT NULL PRIMARY KEY REFERENCES nodes (id) ON DELETE RESTRICT,
	seen TEXT NOT NULL CHECK (length(seen) <= 65535)
) STRICT;
