package config

import (
	"testing"
	"time"
)

func TestSizesAndDurationsComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "5": 5, "1KiB": 1024, "1kib": 1024, "64 KiB": 65536, "1.5GiB": 3 << 29, "2GB": 2e9, "10B": 10, "5TiB": 5 << 40,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if again, againErr := ParseSize(writeSize(got)); againErr != nil || again != got {
			t.Errorf("%q is written as %q", text, writeSize(got))
		}
	}
	for _, text := range []string{"", "B", "MiB", "-1", "-1MiB", "1e3MiB", "InfGiB", "1.5", "0x10", "1..5MiB", "9223372036854775807TiB", "1 000"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	for text, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "1m30s": 90 * time.Second, "24h": day, "7d": 7 * day, "1w2d3h": 9*day + 3*time.Hour, "1d": day, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
		if again, againErr := parseDuration(writeDuration(got)); againErr != nil || again != got {
			t.Errorf("%q is written as %q", text, writeDuration(got))
		}
	}
	for _, text := range []string{"", "5", "-1s", "d", "1d-2h", "1d2", "2h1d", "1dd", "99999999999d", "2147483647w2147483647d", "1d9999999h"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
	if got := writeDuration(90 * time.Minute); got != "1h30m" {
		t.Error(got)
	}
	if got := writeDuration(10 * time.Second); got != "10s" {
		t.Error(got)
	}
}

func TestNetworksOfIPv4AreThatHowEverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.1": "10.0.0.1/32", "10.0.0.0/8": "10.0.0.0/8", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:0:0/96": "0.0.0.0/0",
		"::/0": "::/0", "2001:db8::/32": "2001:db8::/32", "::ffff:0:0/90": "",
	} {
		if got, err := parsePrefix(text); (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%s: %s, %v; want %q", text, got, err, want)
		}
	}
}

func TestTheNearestWordIsTheOneMeant(t *testing.T) {
	t.Parallel()
	words := []string{"http.addr", "http.public_url", "data_dir", "log.level"}
	for word, want := range map[string]string{"http.adr": "http.addr", "datadir": "data_dir", "lgo.level": "log.level", "HTTP.ADDR": "http.addr", "zzzzzzzzzzzzz": ""} {
		if got, _ := Nearest(word, words); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}
