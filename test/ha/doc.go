// Package ha runs several nodes of Havn on one Galera cluster and one directory of blobs, and lets database servers die under them.
package ha
