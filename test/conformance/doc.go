// Package conformance runs the conformance suite of the OCI Distribution Specification against the program. It has tests only.
package conformance
