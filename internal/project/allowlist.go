package project

import (
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
)

// Allowlist are findings of scanners that do not count in a project.
type Allowlist struct {
	CVEs      []string  // each once
	ExpiresAt time.Time // in whole seconds; zero: never
	ChangedAt time.Time // zero: it was never set. Not read where a list is set
}

// maxAllowlistBytes is what the column takes: room for some thousand findings.
const maxAllowlistBytes = 65535

// storedAllowlist is a list as it is stored. Times are seconds since 1970, 0: none.
type storedAllowlist struct {
	CVEs      []string `json:"cves,omitempty"`
	ExpiresAt int64    `json:"expires_at,omitempty"`
	ChangedAt int64    `json:"changed_at,omitempty"`
}

// checked answers a list as it is stored, but for when. Invalid if it can't be.
func (a *Allowlist) checked() (storedAllowlist, error) {
	var stored storedAllowlist
	if !a.ExpiresAt.IsZero() {
		stored.ExpiresAt = a.ExpiresAt.Unix()
	}
	seen := map[string]bool{}
	for _, cve := range a.CVEs {
		cve = strings.TrimSpace(cve)
		switch {
		case cve == "" || !utf8.ValidString(cve) || strings.ContainsFunc(cve, unicode.IsControl):
			return stored, fail.E(fail.Invalid, nil, "name %.100q of a vulnerability", cve).Hint("use names like CVE-2024-12345")
		case seen[cve]:
			return stored, fail.E(fail.Invalid, nil, "%.100q is twice in the list of allowed vulnerabilities", cve).Hint("name each once")
		}
		seen[cve] = true
		stored.CVEs = append(stored.CVEs, cve)
	}
	full := stored
	full.ChangedAt = math.MaxInt64
	_, err := full.encode()
	return stored, err
}

func (s *storedAllowlist) encode() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fail.E(fail.Internal, err, "list of allowed vulnerabilities")
	}
	if len(text) > maxAllowlistBytes {
		return "", fail.E(fail.Invalid, nil, "list of %d allowed vulnerabilities", len(s.CVEs)).Hint("all their names together may have some %d KiB", maxAllowlistBytes>>10)
	}
	return string(text), nil
}

func readAllowlist(text string) (Allowlist, error) {
	var a Allowlist
	if text == "" {
		return a, nil
	}
	var stored storedAllowlist
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return a, fail.E(fail.Internal, err, "stored list of allowed vulnerabilities")
	}
	a.CVEs = stored.CVEs
	if stored.ExpiresAt != 0 {
		a.ExpiresAt = time.Unix(stored.ExpiresAt, 0).UTC()
	}
	if stored.ChangedAt != 0 {
		a.ChangedAt = time.Unix(stored.ChangedAt, 0).UTC()
	}
	return a, nil
}
