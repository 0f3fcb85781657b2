// Package egress is the HTTP client for addresses that somebody else chose: a webhook's target, another registry, an identity provider, a
// collector of traces.
//
// Whoever may enter an address could otherwise make Havn ask what only Havn's machine can reach: a database without a password, the metadata
// service of a cloud. So every connection is checked after its name was resolved and right before it is made, which holds for redirects and for
// names that change between two look-ups too; answers are bounded in time and size. What the operator's own configuration names is let
// through by Config.Allow.
package egress
