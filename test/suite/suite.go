// Package suite runs the conformance suite of the OCI Distribution Specification against a registry, and judges what it says. It has no tests: conformance and deployment use it.
package suite

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

// Outcome is one leaf of the suite.
type Outcome struct {
	Name   string `xml:"name,attr"` // with those of the nodes above it
	Status string `xml:"status,attr"`
	// Problems are what the suite says is wrong, Talk is every request and answer.
	Problems string `xml:"system-out"`
	Talk     string `xml:"system-err"`
}

// talked is how much of the requests and answers of a failed leaf is shown.
const talked = 2000

func (o Outcome) String() string {
	talk := strings.TrimSpace(o.Talk)
	if len(talk) > talked {
		talk = "..." + talk[len(talk)-talked:]
	}
	return fmt.Sprintf("%s %s: %s\n%s", o.Status, o.Name, strings.TrimSpace(o.Problems), talk)
}

// Target is the registry that the suite runs against, over plain HTTP.
type Target struct {
	Addr           string // host:port
	User, Password string
}

// Run runs the whole of the suite with these settings and answers every leaf.
func Run(t *testing.T, registry Target, env ...string) []Outcome {
	t.Helper()
	sh := harness.NewShell(t)
	sh.Env = append([]string{
		"OCI_REGISTRY=" + registry.Addr, "OCI_TLS=disabled", "OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2",
		"OCI_USERNAME=" + registry.User, "OCI_PASSWORD=" + registry.Password, "OCI_RESULTS_DIR=" + sh.Path("results"),
		// Everything that is off by default and that Havn can.
		"OCI_API_BLOBS_UPLOAD_CANCEL=true", "OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_TAG_PARAM=true",
	}, env...)
	// Its exit code says no more than the report does.
	out, exit := sh.Try(t, harness.Client(t, "conformance"))
	text, err := os.ReadFile(sh.Path("results", "junit.xml"))
	if err != nil {
		t.Fatalf("the suite wrote no report (%v), ended with %v and said:\n%s", err, exit, out)
	}
	var report struct {
		Suites []struct {
			Cases []Outcome `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err = xml.Unmarshal(text, &report); err != nil {
		t.Fatalf("junit.xml: %v", err)
	}
	var all []Outcome
	for _, part := range report.Suites {
		all = append(all, part.Cases...)
	}
	// Fewer would mean that the suite gave up, or that this report was not understood.
	if len(all) < 700 {
		t.Fatalf("the suite ran %d tests only and said:\n%s", len(all), out)
	}
	return all
}

// atLength is how many failures are shown with their requests and answers.
const atLength = 5

// Judge fails the test for every leaf that did not pass, but for these failures, each of which must be there exactly once.
func Judge(t *testing.T, all []Outcome, decided []string) {
	t.Helper()
	count, left := map[string]int{}, map[string]bool{}
	for _, name := range decided {
		left[name] = true
	}
	var wrong []string
	for _, o := range all {
		count[o.Status]++
		if o.Status == "passed" {
			continue
		}
		if o.Status == "failure" && left[o.Name] {
			delete(left, o.Name)
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s %s: %s", o.Status, o.Name, strings.TrimSpace(o.Problems)))
		if len(wrong) <= atLength {
			t.Log(o)
		}
	}
	t.Logf("%d tests: %v", len(all), count)
	if len(wrong) > 0 {
		t.Errorf("%d of %d tests of the suite did not pass:\n  %s", len(wrong), len(all), strings.Join(wrong, "\n  "))
	}
	if len(left) > 0 {
		t.Errorf("these were decided to fail, and pass: %v", slices.Sorted(maps.Keys(left)))
	}
}
