package registrytest

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

func TestAMoveWithoutAnEndIsNotTakenForGranted(t *testing.T) {
	op := func(client int, in move, out any, from, to int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: in, Output: out, Call: from, Return: to}
	}
	read := func(client, number int, from, to int64) porcupine.Operation {
		return op(client, move{read: true}, number, from, to)
	}
	lost := op(9, move{to: 2}, nil, 5, math.MaxInt64)
	first := op(1, move{to: 1}, nil, 0, 4)
	for name, c := range map[string]struct {
		history []porcupine.Operation
		want    bool
	}{
		"nobody saw it":                     {[]porcupine.Operation{first, lost, read(2, 1, 10, 11), read(3, 1, 12, 13)}, true},
		"it was seen":                       {[]porcupine.Operation{first, lost, read(2, 1, 10, 11), read(3, 2, 12, 13)}, true},
		"it was seen, and then the old":     {[]porcupine.Operation{first, lost, read(2, 2, 10, 11), read(3, 1, 12, 13)}, false},
		"it was seen by one of two":         {[]porcupine.Operation{first, lost, read(2, 2, 10, 14), read(3, 1, 11, 13)}, true},
		"it came back after another move":   {[]porcupine.Operation{first, lost, read(2, 2, 10, 11), op(1, move{to: 3}, nil, 12, 13), read(3, 2, 14, 15)}, false},
		"it came late, under another move":  {[]porcupine.Operation{first, lost, op(1, move{to: 3}, nil, 12, 13), read(3, 2, 14, 15)}, true},
		"it was seen before it was begun":   {[]porcupine.Operation{first, read(2, 2, 1, 3), lost}, false},
		"it was to where another moved too": {[]porcupine.Operation{first, lost, op(1, move{to: 3}, nil, 12, 13), read(3, 3, 14, 15), op(4, move{to: 2}, nil, 16, 17), read(3, 2, 18, 19), op(1, move{to: 3}, nil, 20, 21), read(3, 2, 22, 23)}, true},
		"it deleted the tag, unseen by all": {[]porcupine.Operation{first, op(9, move{to: 0}, nil, 5, math.MaxInt64), read(2, 1, 10, 11)}, true},
		"it deleted the tag, seen by one":   {[]porcupine.Operation{first, op(9, move{to: 0}, nil, 5, math.MaxInt64), read(2, 0, 10, 11), read(3, 1, 12, 13)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := porcupine.CheckOperations(register, bounded(c.history)); got != c.want {
				t.Errorf("linearizable: %v, want %v", got, c.want)
			}
			if got := porcupine.CheckOperations(register, c.history); got != c.want {
				t.Errorf("as it was, linearizable: %v, want %v", got, c.want)
			}
		})
	}
}
