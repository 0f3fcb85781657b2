// Package chaos lets everything fail that a deployment stands on, one thing at a time and under load, and looks whether anything that was acknowledged is lost, any tag reads back
// in time, or any client sees an error that a retry does not hide. It runs in a network namespace of its own, whose firewall makes the partitions.
package chaos
