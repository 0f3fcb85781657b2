package sqldb

import "errors"

// refusal says that a transaction was refused or that its outcome is unknown: run it again. It never leaves the package.
type refusal struct {
	cause  error
	reason string // a metric's label: conflict, node, connection, commit, unique
	final  error  // what to answer if this was the last try; nil: unavailable
}

func (r *refusal) Error() string { return "refused (" + r.reason + "): " + r.cause.Error() }

func (r *refusal) Unwrap() error { return r.cause }

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// settled takes the refusal out of an error, so that it is not run again.
func settled(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return r.cause
	}
	return err
}
