// Package oci holds the words of the OCI specifications: repository names, tags, digests, descriptors and manifests. It parses and
// checks them, once, at the edge; inside, a value of these types is known to be right. It does no I/O.
package oci
