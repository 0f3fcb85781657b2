// Command bench measures Havn side by side with other registries and with nginx serving the same bytes.
//
// It starts each of them as a child process with an empty directory of its own, or with -store on a small Ceph with a bucket for each,
// brings the same content in, and then alternates between them, round by round, so that whatever else the machine does falls on all alike.
// It prints medians, ratios with a 95 % interval, CPU seconds of the server per operation, and the server's peak memory.
//
// With -address it sends the same requests to one registry that runs already (pushing into library/bench there).
package main
