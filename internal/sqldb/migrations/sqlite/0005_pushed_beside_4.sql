-- The manifests of a repository in the order in which they were pushed, for pages of them. Statements may run twice.
CREATE INDEX IF NOT EXISTS manifests_pushed ON manifests (repo, pushed_at, digest);
