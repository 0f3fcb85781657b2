// Package stores runs the drivers of blob stores, and Havn on them, against the real services: a Ceph with radosgw; and against Azurite, which stands for Azure.
package stores
