// Command havn is an OCI container registry: `havn serve` runs it, the other commands look after it.
package main

import (
	"io"
	"os"

	"github.com/mattn/go-isatty"

	"github.com/havn-registry/havn/internal/harborcfg"
)

func main() {
	p := &program{
		args: os.Args[1:], environ: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: isatty.IsTerminal(os.Stderr.Fd()),
	}
	os.Exit(p.run())
}

// program is one run of the command line, with all that it takes from the outside.
type program struct {
	args     []string
	environ  []string
	in       io.Reader
	out, err io.Writer
	terminal bool // err is one

	harbor *harborcfg.File // the harbor.cfg that the configuration was loaded with, nil if none
}
