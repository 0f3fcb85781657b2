package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
)

var update = flag.Bool("update", false, "write docs/cli.md")

const referencePath = "../../docs/cli.md"

// every answers a command and all below it, in the order in which they are listed.
func every(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			all = append(all, every(sub)...)
		}
	}
	return all
}

func TestTheReferenceInTheDocumentationIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- generated from here -->\n"
	before, _, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no place for the reference", referencePath)
	}
	want := before + begin + reference()
	if *update {
		if err = os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the code does: go test ./cmd/havn -run Documentation -update", referencePath)
	}
}

// shared are the flags that the page, or that of the configuration, tells once for all commands.
func shared() []string {
	all := []string{"server", "ca-file", "plain-http", "output", "config", "harbor-cfg"}
	for _, f := range config.Flags() {
		all = append(all, f.Name)
	}
	return all
}

// reference describes every command, as Markdown. What the page says of all of them is left out.
func reference() string {
	var b strings.Builder
	for _, cmd := range every(new(program).root()) {
		long, _, _ := strings.Cut(cmd.Long, "Exit codes:")
		long = strings.TrimSpace(strings.ReplaceAll(long, serverText, ""))
		if cmd.HasSubCommands() {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", cmd.CommandPath(), long)
			continue
		}
		for _, f := range shared() {
			if known := cmd.LocalFlags().Lookup(f); known != nil {
				known.Hidden = true
			}
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n```\n%s\n", cmd.CommandPath(), long, cmd.UseLine())
		if flags := strings.TrimRight(cmd.LocalFlags().FlagUsages(), "\n"); flags != "" {
			b.WriteString("\n" + flags + "\n")
		}
		fmt.Fprintf(&b, "```\n\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	}
	return b.String()
}
