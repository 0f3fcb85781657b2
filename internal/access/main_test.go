package access_test

import (
	"os"
	"testing"

	"github.com/havn-registry/havn/internal/quicktest"
)

func TestMain(m *testing.M) { os.Exit(quicktest.Main(m, 4)) }
