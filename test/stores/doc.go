// Package stores runs the drivers of blob stores, and Havn on them, against the real services: a Ceph with radosgw.
package stores
