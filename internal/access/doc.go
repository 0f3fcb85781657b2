// Package access says who somebody is and what they may do: local users, their passwords and the slow-down of guesses, scopes, and the tokens that hold what
// was granted. It knows no HTTP.
package access
