package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/havn-registry/havn/internal/fail"
)

// maxLine bounds what is read of standard input: more than a password may have.
const maxLine = 4 << 10

// line reads the next line of standard input.
func (p *program) line() (string, error) {
	if p.lines == nil {
		p.lines = bufio.NewReaderSize(p.in, maxLine)
	}
	text, err := p.lines.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fail.E(fail.Unavailable, err, "read a line of standard input")
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// hiddenLine reads a line of a terminal that is not shown. Who breaks it off has a terminal that shows again what he types.
func hiddenLine(terminal int) (string, error) {
	state, err := term.GetState(terminal)
	if err != nil {
		return "", fail.E(fail.Unavailable, err, "read a password")
	}
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, os.Interrupt, syscall.SIGTERM)
	defer close(broken)
	defer signal.Stop(broken)
	go func() {
		if _, ok := <-broken; ok {
			if restoreErr := term.Restore(terminal, state); restoreErr != nil {
				os.Exit(exitFailed)
			}
			os.Exit(exitBroken)
		}
	}()
	text, err := term.ReadPassword(terminal)
	return string(text), err
}

// exitBroken is that of a program that was broken off at the keyboard.
const exitBroken = 130

// password reads a password: of standard input if that is said, or from a person, to whom it is not shown.
func (p *program) password(stdin bool, what string) (string, error) {
	var text string
	var err error
	switch {
	case stdin:
		text, err = p.line()
	case p.asks:
		p.say(p.err, what+": ")
		text, err = p.hidden()
		p.say(p.err, "\n")
	default:
		return "", usage(fail.E(fail.Invalid, nil, "nobody is there to ask for a password").Hint("write it to standard input, and say --password-stdin"))
	}
	if err != nil {
		return "", failed(err)
	}
	if text == "" {
		return "", usage(fail.E(fail.Invalid, nil, "no password").Hint("write it in one line"))
	}
	return text, nil
}

// newPassword is password for one that is to be: a person types it twice.
func (p *program) newPassword(stdin bool, what string) (string, error) {
	first, err := p.password(stdin, what)
	if err != nil || stdin {
		return first, err
	}
	again, err := p.password(false, "Once more")
	if err != nil {
		return "", err
	}
	if again != first {
		return "", usage(fail.E(fail.Invalid, nil, "the two are not the same").Hint("try again"))
	}
	return first, nil
}

// onStdin adds --password-stdin to a command.
func onStdin(cmd *cobra.Command, doc string) *bool {
	return cmd.Flags().Bool("password-stdin", false, "read "+doc+" from standard input, one in a line")
}
