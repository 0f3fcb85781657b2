package conformance

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

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// outcome is one leaf of the suite.
type outcome struct {
	Name   string `xml:"name,attr"` // with those of the nodes above it
	Status string `xml:"status,attr"`
	// Problems are what the suite says is wrong, Talk is every request and answer.
	Problems string `xml:"system-out"`
	Talk     string `xml:"system-err"`
}

// talked is how much of the requests and answers of a failed leaf is shown.
const talked = 2000

func (o outcome) String() string {
	talk := strings.TrimSpace(o.Talk)
	if len(talk) > talked {
		talk = "..." + talk[len(talk)-talked:]
	}
	return fmt.Sprintf("%s %s: %s\n%s", o.Status, o.Name, strings.TrimSpace(o.Problems), talk)
}

// suite runs the whole of it with these settings and answers every leaf.
func suite(t *testing.T, s *harness.Server, env ...string) []outcome {
	t.Helper()
	sh := harness.NewShell(t)
	sh.Env = append([]string{
		"OCI_REGISTRY=" + s.Addr, "OCI_TLS=disabled", "OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2",
		"OCI_USERNAME=" + harness.User, "OCI_PASSWORD=" + harness.Password, "OCI_RESULTS_DIR=" + sh.Path("results"),
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
			Cases []outcome `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err = xml.Unmarshal(text, &report); err != nil {
		t.Fatalf("junit.xml: %v", err)
	}
	var all []outcome
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

// judge fails the test for every leaf that did not pass, but for these failures, each of which must be there exactly once.
func judge(t *testing.T, all []outcome, decided []string) {
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

func TestConformsToVersion11(t *testing.T) {
	judge(t, suite(t, harness.Start(t, harness.Options{}), "OCI_VERSION=1.1"), nil)
}

func TestConformsToTheNewestDraft(t *testing.T) {
	judge(t, suite(t, harness.Start(t, harness.Options{}), "OCI_VERSION=dev"), nil)
}

// sparseImage are the failures that are decided: an image without one of its layers cannot be pulled, so its push is refused
// (MANIFEST_BLOB_UNKNOWN), also where absent children of an index are allowed. Leaves of these names that concern the sparse index,
// and the image in it that is there, are other ones: they pass.
var sparseImage = []string{
	"OCI Conformance Test/sparse/push/manifest-by-digest",
	"OCI Conformance Test/sparse/push/manifest-by-tag",
	"OCI Conformance Test/sparse/tag-list", // lacks the tag sparse-image
	"OCI Conformance Test/sparse/head/manifest-head-by-digest",
	"OCI Conformance Test/sparse/head/manifest-head-by-tag",
	"OCI Conformance Test/sparse/pull/manifest-by-digest",
	"OCI Conformance Test/sparse/pull/manifest-by-tag",
}

func TestConformsWithSparseIndexes(t *testing.T) {
	s := harness.Start(t, harness.Options{Env: []string{"HAVN_REGISTRY_SPARSE_INDEX=true"}})
	all := suite(t, s, "OCI_VERSION=dev", "OCI_DATA_SPARSE=true")
	judge(t, all, sparseImage)
	for _, o := range all {
		if o.Status == "failure" && strings.Contains(o.Name, "/push/") && !strings.Contains(o.Talk, "MANIFEST_BLOB_UNKNOWN") {
			t.Errorf("this push was refused for another reason: %s", o)
		}
	}
}
