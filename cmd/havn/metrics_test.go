package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A rule about a metric that is not there never fires, and nobody notices.
func TestMetricsInRulesAndDocumentationAreThere(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	err := filepath.WalkDir("../../internal", func(path string, _ fs.DirEntry, walkErr error) error {
		if walkErr != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return walkErr
		}
		text, readErr := os.ReadFile(path)
		code.Write(text)
		return readErr
	})
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bhavn_[a-z_]+[a-z]\b`)
	for _, page := range []string{"../../deploy/alerts.yaml", "../../docs/operations.md"} {
		text, readErr := os.ReadFile(page)
		if readErr != nil {
			t.Fatal(readErr)
		}
		found := name.FindAllString(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names no metric", page)
		}
		for _, metric := range found {
			if !strings.Contains(code.String(), `Name: "`+metric+`"`) {
				t.Errorf("%s: no code makes %s", page, metric)
			}
		}
	}
}
