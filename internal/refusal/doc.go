// Package refusal is what every surface over HTTP does alike with an error: what of it a stranger may read, when he may try again, and what is logged. Statuses and codes are each surface's own.
package refusal
