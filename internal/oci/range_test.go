package oci_test

import (
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

func TestContentRangesOfClients(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]int64{
		"0-1023": {0, 1023}, "0-0": {0, 0}, "5-9": {5, 9}, " 5-9 ": {5, 9}, "bytes 5-9/10": {5, 9}, "bytes 5-9/*": {5, 9}, "bytes 5-9": {5, 9},
		"Bytes 5-9/10": {5, 9}, "bytes  5-9/10": {5, 9}, "5-9/10": {5, 9}, "007-9": {7, 9}, "0-9223372036854775806": {0, 9223372036854775806},
	} {
		if from, to, err := oci.ParseContentRange(s); err != nil || from != want[0] || to != want[1] {
			t.Errorf("%q: %d to %d, %v, want %v", s, from, to, err, want)
		}
	}
	for _, s := range badRanges {
		if from, to, err := oci.ParseContentRange(s); err == nil {
			t.Errorf("%q is read as %d to %d", s, from, to)
		}
	}
}

var badRanges = []string{
	"", "-", "0-", "-5", "9-0", "500-0", "0--1", "a-b", "0-9-10", "+0-9", "0x0-9", "0 - 9", "bytes", "bytes=0-9", "bytes */10", "bytes 0-9/9", "bytes 0-9/", "bytes 0-9/x",
	"0-9,20-29", "0-9223372036854775807", "18446744073709551615-1", "0-18446744073709551616", "items 0-9/10", "0-9\x00", "٠-٩",
}

func FuzzContentRange(f *testing.F) {
	for _, s := range append(badRanges, "0-9", "bytes 0-9/10", "bytes 0-9/*", "0-9223372036854775806") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, to, err := oci.ParseContentRange(s)
		if err != nil {
			if !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeBlobUploadInvalid || from != 0 || to != 0 {
				t.Fatalf("%q: %d to %d, %v", s, from, to, err)
			}
			return
		}
		if from < 0 || to < from || to-from+1 <= 0 {
			t.Fatalf("%q: %d to %d", s, from, to)
		}
	})
}
