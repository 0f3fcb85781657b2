package faults

import (
	"os"
	"testing"

	"github.com/havn-registry/havn/test/forgetfs"
	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) {
	if forgetfs.Child() || pusher() {
		return
	}
	os.Exit(harness.Main(m))
}
