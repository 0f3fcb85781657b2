package checks

import (
	"context"
	"math/rand/v2"

	"github.com/havn-registry/havn/internal/blob"
)

// Reporter is told what a check finds: a *testing.T is one. Fatalf ends the check.
type Reporter interface {
	Context() context.Context
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Check tries to break one promise. It wants a driver without objects.
type Check struct {
	Name string // as of a test
	What string // the promise, in words
	Run  func(Reporter, blob.Driver)
}

// All answers every check.
func All() []Check {
	return []Check{
		{"WhatWasPutIsRead", "what was written is read, whole and in part", readBack},
		{"ALongObjectIsWhole", "an object of many parts is whole", long},
		{"ANameIsWrittenOnce", "an object is not written over", once},
		{"OneOfManyWritersWins", "one of many writers of a name wins", race},
		{"AbsentIsNotFound", "what is absent is said to be", absent},
		{"DeleteIsIdempotent", "what is deleted is gone, twice too", deleted},
		{"AFailedPutLeavesNothingWhole", "a write that breaks off leaves nothing that stays", broken},
		{"AnEndedContextStopsAPut", "a write that is given up stops", cancelled},
		{"ListIsSortedAndComplete", "the list is sorted and complete", listed},
		{"TheStoreKeepsItsID", "the store keeps its id", identity},
		{"AnIDThatWasCutOffIsNone", "an id whose writing was cut off is none", cutOff},
		{"ABlobOfSeveralObjects", "a blob of several objects is read as one", several},
		{"DamageIsAnErrorNotAnEnd", "damage is an error, not an end", damage},
	}
}

// Noise answers bytes that look random and are the same for the same seed.
func Noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, size)
	if _, err := rand.NewChaCha8(key).Read(b); err != nil { //nolint:forbidigo // the seed is the caller's
		panic(err)
	}
	return b
}

func store(d blob.Driver) *blob.Store { return blob.NewStore(d, blob.StoreConfig{}) }
