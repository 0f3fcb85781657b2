-- The manifests of a repository in the order in which they were pushed, for pages of them. MySQL itself has no IF NOT EXISTS here: an index that is there already is taken for made.
CREATE INDEX manifests_pushed ON manifests (repo, pushed_at, digest);
