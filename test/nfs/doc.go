// Package nfs tries a directory that several nodes share over a network. Many kernels that tests run on have no NFS, so this is a file system of its own that does what NFS does to
// its users: each node's mount remembers names, attributes, the absence of names and listings for seconds, whatever the others do meanwhile, and answers late.
package nfs
