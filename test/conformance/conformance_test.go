package conformance

import (
	"os"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/suite"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

func target(s *harness.Server) suite.Target {
	return suite.Target{Addr: s.Addr, User: harness.User, Password: harness.Password}
}

func TestConformsToVersion11(t *testing.T) {
	suite.Judge(t, suite.Run(t, target(harness.Start(t, harness.Options{})), "OCI_VERSION=1.1"), nil)
}

func TestConformsToTheNewestDraft(t *testing.T) {
	suite.Judge(t, suite.Run(t, target(harness.Start(t, harness.Options{})), "OCI_VERSION=dev"), nil)
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
	all := suite.Run(t, target(s), "OCI_VERSION=dev", "OCI_DATA_SPARSE=true")
	suite.Judge(t, all, sparseImage)
	for _, o := range all {
		if o.Status == "failure" && strings.Contains(o.Name, "/push/") && !strings.Contains(o.Talk, "MANIFEST_BLOB_UNKNOWN") {
			t.Errorf("this push was refused for another reason: %s", o)
		}
	}
}
