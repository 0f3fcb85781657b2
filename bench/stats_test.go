package main

import "testing"

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.in, got, c.want)
		}
	}
}

func TestTheIntervalHoldsTheMedianAndIsRepeatable(t *testing.T) {
	t.Parallel()
	in := []float64{1, 1.1, 0.9, 1.2, 1.05, 0.95, 1.0, 1.15, 0.85}
	mid, low, high := interval(in)
	if mid != 1 || low > mid || high < mid || low == high {
		t.Errorf("median %v in [%v, %v]", mid, low, high)
	}
	again, low2, high2 := interval(in)
	if again != mid || low2 != low || high2 != high {
		t.Error("another answer to the same values")
	}
}
