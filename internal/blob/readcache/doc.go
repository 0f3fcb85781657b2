// Package readcache keeps copies of objects in a directory on this machine, so that what is pulled often comes from a local disk at sendfile's speed though the
// store is remote.
//
// An object is copied when somebody reads it from its beginning. Whoever reads it meanwhile, the first one included, reads the growing copy: the store is asked once,
// however many ask. A copy counts once it has the object's size and digest; it keeps its name across a restart only when it is flushed as well. The directory is
// bounded: what was not read for longest goes first, and a reader of it keeps its open file. Whatever fails here, the pull goes on from the store.
package readcache
