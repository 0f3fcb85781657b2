// Package deployment brings the whole deployment up with `havn lab`, as a user does, uses it with real clients, and breaks it under load. It has tests only.
package deployment
