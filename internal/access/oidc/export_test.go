package oidc

// What the fuzzers try.
var (
	Cleaned = cleaned
	Local   = local
)
