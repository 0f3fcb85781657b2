-- The index of objects' names is no longer unique: names are random, and no two are the same. Where an object got its place in a content, its primary key changed, and InnoDB made sure that the name was the only one by
-- locking the gaps beside it. On Galera a transaction of another node that inserted there then waited for the one with the gap, and that, in its COMMIT, for the other: the whole cluster stood still.
-- MySQL itself has no IF EXISTS here: an index that is there already is taken for made, one that is gone for dropped.
CREATE INDEX objects_name ON objects (name);
ALTER TABLE objects DROP INDEX name;
