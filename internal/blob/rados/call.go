//go:build rados

package rados

import (
	"context"
)

// A call of librados holds a thread until it returns, and can't be broken off: at most so many at once, and whoever waits for one may leave it before its end. What it
// returns then is dropped, and what it uses must be its own.
const (
	readsAtOnce  = 32
	othersAtOnce = 32
)

// slots are the calls of one kind that may run at once.
type slots chan struct{}

// outcome is what a call returned.
type outcome[T any] struct {
	value T
	err   error
}

// call runs a call of librados when it is its turn, and waits for it or for the context's end.
func call[T any](ctx context.Context, s slots, do func() (T, error)) (T, error) {
	select {
	case s <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	return leave(ctx, func() (T, error) {
		defer func() { <-s }()
		return do()
	})
}

// leave runs a call of librados in any case, and waits for it or for the context's end.
func leave[T any](ctx context.Context, do func() (T, error)) (T, error) {
	done := make(chan outcome[T], 1)
	go func() { // it ends with the call, which Ceph's time-outs bound: see Config.options
		value, err := do()
		done <- outcome[T]{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// run is call for what returns nothing.
func run(ctx context.Context, s slots, do func() error) error {
	_, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, do() })
	return err
}
