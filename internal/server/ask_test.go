package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

func TestAProcessThatDoesNotAnswerLeavesTheRefusalAndNoQuestion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refusal := fail.E(fail.Conflict, nil, "in use")
	if _, err := askToRotate(t.Context(), dir, true, refusal); !errors.Is(err, refusal) {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := askToRotate(t.Context(), filepath.Join(dir, "absent"), false, refusal); err == nil || errors.Is(err, refusal) {
		t.Error(err)
	}
}
