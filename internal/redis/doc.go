// Package redis asks one Redis, be it a server alone, one watched by Sentinels or a cluster, for what may be lost at any time: bytes that are also elsewhere and
// counters that each node also keeps by itself.
//
// A request never waits for it for longer than Config.Timeout. What does not answer is asked no more (circuit.go): requests go around it, at no cost, and it is
// tried again in the background. In a cluster that is so for each part of the slots by itself, so that a dead master costs its own keys only. Errors are therefore
// nothing to show to anybody: Unavailable means "do without".
//
// The library (rueidis) speaks the protocol, follows redirects and learns of failovers; library.go, mode.go and meaning.go are all that know it.
package redis
