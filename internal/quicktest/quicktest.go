// Package quicktest runs the tests of packages that write much or wait much, so that all tests of the module are done soon.
package quicktest

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// Main runs the tests of a package. Their directories are in memory, where the machine has such a file system with room and TMPDIR names no other place: what is written with
// a flush each time takes a disk most of the time of these tests, and nothing in them takes the power away. And so many tests run at once, if more than 0 and -parallel does not
// say it: for packages whose tests wait, for a slow client or a store that hangs. Under the race detector they need the processors for themselves.
func Main(m *testing.M, atOnce int) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if atOnce > 0 && !given && !raceDetector {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	dir := inMemory()
	code := m.Run()
	if dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return max(code, 1)
		}
	}
	return code
}
