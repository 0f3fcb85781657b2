// Command havn is an OCI container registry: `havn serve` runs it, other commands look after it, and others ask any node of it.
package main

import (
	"bufio"
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
	if p.terminal && isatty.IsTerminal(os.Stdin.Fd()) {
		p.asks = true
		p.hidden = func() (string, error) { return hiddenLine(int(os.Stdin.Fd())) }
	}
	os.Exit(p.run())
}

// program is one run of the command line, with all that it takes from the outside.
type program struct {
	args     []string
	environ  []string
	in       io.Reader
	out, err io.Writer
	terminal bool                   // err is one
	asks     bool                   // in is one too: somebody can be asked
	hidden   func() (string, error) // reads a line that is not shown, where somebody can be asked

	lines  *bufio.Reader   // in, once a line of it was read
	harbor *harborcfg.File // the harbor.cfg that the configuration was loaded with, nil if none
}
