// Package chaos lets everything that Havn stands on fail, at random moments, under load, and checks afterwards that nothing that was acknowledged is lost, that no tag was read
// stale, and that no client saw an error which a retry would not have hidden. `make chaos` lets it run for an hour and writes the report.
package chaos
