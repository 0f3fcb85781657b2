package sqldb

import (
	"errors"

	"github.com/havn-registry/havn/internal/fail"
)

// Reasons of a refusal; they are labels of a metric.
const (
	reasonConflict   = "conflict"   // another transaction was in the way
	reasonNode       = "node"       // the node can't serve: try another
	reasonConnection = "connection" // no connection could be had
	reasonCommit     = "commit"     // the outcome of the commit is unknown
	reasonUnique     = "unique"     // a key was taken since the transaction looked
)

// refusal says that a transaction was refused or that its outcome is unknown: run it again. It never leaves the package.
type refusal struct {
	cause  error
	reason string
	final  error // what to answer if this was the last try; nil: unavailable
}

func (r *refusal) Error() string { return "refused (" + r.reason + "): " + r.cause.Error() }

func (r *refusal) Unwrap() error { return r.cause }

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// isConflict reports whether an error says for certain that nothing was committed: another transaction was in the way.
func isConflict(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.reason == reasonConflict
}

// settled takes the refusal out of an error, so that it is not run again.
func settled(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return fail.E(fail.Unavailable, r.cause, "database").RetryAfter(retryAfter)
	}
	return err
}
