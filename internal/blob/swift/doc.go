// Package swift keeps objects in containers of OpenStack Swift, or of Ceph's radosgw, which speaks its API.
//
// An object is one PUT: whole, listed with its true size, and read by any other program; never a manifest of segments, which listings show with no
// bytes and copies take without them. That bounds an object by what the server takes in one request, 5 GiB by default.
//
// The library logs in (versions 1, 2 and 3, the catalogue of services, the life of tokens). Requests for objects are plain HTTP: the library starts a
// goroutine and a timer for each read, and gives up on a body that it began to send.
package swift
