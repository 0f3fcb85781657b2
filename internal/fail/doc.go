// Package fail holds the errors of Havn: a kind from a short list, what failed on what, its cause, and what to do next.
//
// Inside the program only the kind decides; texts are for people. Each surface maps kinds to its own statuses and codes in one
// place. A surface's own error code may travel along (Code), so that the place that knows best names it.
package fail
