package main

import (
	"math/rand/v2"
	"slices"
)

// median answers the middle of the values, 0 if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// resamples is how often the interval draws: enough for two stable digits.
const resamples = 4000

// interval answers the median of the values and the bootstrap's 95 % interval of it. The source is seeded, so that the same measurement
// prints the same interval.
func interval(values []float64) (mid, low, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	source := rand.New(rand.NewPCG(1, 2))
	mids := make([]float64, resamples)
	draw := make([]float64, len(values))
	for i := range mids {
		for j := range draw {
			draw[j] = values[source.IntN(len(values))]
		}
		mids[i] = median(draw)
	}
	slices.Sort(mids)
	return median(values), mids[resamples*25/1000], mids[resamples*975/1000]
}
