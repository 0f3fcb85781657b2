package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this binary was made of.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified"`       // built from files that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// buildVersion reads what the Go tool wrote into the binary.
func buildVersion() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (p *program) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which version this is",
		Long:    "Say which version this is, and what it was built from and with.\n\n" + exitText,
		Example: "  havn version\n  havn version --output json",
		Args:    noArguments,
	}
	asJSON := output(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		wantJSON, err := asJSON()
		if err != nil {
			return err
		}
		b := buildVersion()
		if wantJSON {
			return p.printJSON(b)
		}
		text := "havn " + b.Version
		if b.Revision != "" {
			text += fmt.Sprintf(" (revision %.12s of %s", b.Revision, b.Time)
			if b.Modified {
				text += ", modified"
			}
			text += ")"
		}
		return p.print(text + ", " + b.Go + ", " + b.Platform + "\n")
	}
	return cmd
}
