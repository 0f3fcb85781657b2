// Package access says who somebody is and what they may do: users of Havn's own and of directories, robots, groups, members and their roles, passwords and the slow-down of guesses, secrets, sessions,
// scopes, and the tokens that hold what was granted and can be revoked. It knows no HTTP.
package access
