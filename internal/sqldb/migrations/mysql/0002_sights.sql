-- What an incarnation of a node sees of the stores, as text of its own form; only the last. Statements may run twice.
CREATE TABLE IF NOT EXISTS sights (
	node BIGINT NOT NULL PRIMARY KEY,
	seen TEXT NOT NULL,
	FOREIGN KEY (node) REFERENCES nodes (id) ON DELETE RESTRICT
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
