package config

import (
	"fmt"
	"strings"
)

// Setting is one key with its value and where that came from.
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // string, bool, number or list of strings; secrets are ***
	Origin string `json:"origin"`
}

// Settings answers every key in the order of the reference.
func (c *Config) Settings() []Setting {
	var all []Setting
	for _, k := range keys() {
		all = append(all, Setting{Key: k.path, Value: k.show(c), Origin: c.origins[k.path].source})
	}
	return all
}

// Flag is a key that can be given on the command line.
type Flag struct{ Key, Name, Doc string }

// Flags answers the keys that have a flag of their own.
func Flags() []Flag {
	var all []Flag
	for _, k := range keys() {
		if k.flag {
			doc, _, _ := strings.Cut(k.doc, ". ")
			all = append(all, Flag{Key: k.path, Name: k.flagName(), Doc: strings.TrimSuffix(doc, ".") + " (" + k.path + ")"})
		}
	}
	return all
}

const referenceHead = `# Configuration

<!-- Written by: go run ./cmd/havn config reference > docs/configuration.md -->

Nothing has to be configured. A value is taken from the first of these that has it:

1. a flag of the command line (the common keys have one);
2. an environment variable: ` + "`HAVN_`" + ` and the key in capitals, dots as ` + "`_`" + ` (lists are separated by commas; an empty variable counts as not set);
3. the file that ` + "`--config`" + ` or ` + "`HAVN_CONFIG`" + ` names, in YAML: ` + "`http.addr`" + ` is the key ` + "`addr`" + ` in the section ` + "`http`" + `;
4. Harbor's ` + "`harbor.cfg`" + `, if ` + "`--harbor-cfg`" + ` or ` + "`" + HarborVariable + "`" + ` names one: see [migrating.md](migrating.md);
5. the default.

An unknown key in the file is an error; an unknown ` + "`HAVN_`" + ` variable is a warning, except for those that Kubernetes sets for a service called havn.
` + "`havn config check`" + ` says what is wrong without starting; ` + "`havn config print`" + ` shows each key's value and where it came from.

Durations have a unit (` + "`30s`, `5m`, `12h`, `7d`" + `), sizes too (` + "`512MiB`, `2GB`" + `; a bare number is bytes). A secret can be read from a file: add ` + "`_file`" + ` to its
key and give the path.

`

// Reference answers docs/configuration.md: every key with all that is known about it.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("| key | type | default |\n|---|---|---|\n")
	for _, k := range keys() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", k.path, anchor(k.path), k.kind, k.fallbackText())
	}
	for _, k := range keys() {
		fmt.Fprintf(&b, "\n## `%s`\n%s\n\n", k.path, k.doc)
		fmt.Fprintf(&b, "- allowed: %s\n- default: %s\n- environment: `%s`\n", k.allowed, k.fallbackText(), k.env())
		if k.flag {
			fmt.Fprintf(&b, "- flag: `--%s`\n", k.flagName())
		}
		if k.secret {
			fmt.Fprintf(&b, "- from a file: `%s%s`, `%s_FILE`\n", k.path, fileSuffix, k.env())
		}
		if k.example != "" {
			fmt.Fprintf(&b, "- example: `%s`\n", k.example)
		}
	}
	return b.String()
}

func (k key) fallbackText() string {
	if joined := strings.Join(k.fallback, ","); joined != "" {
		return "`" + joined + "`"
	}
	if k.unset != "" {
		return k.unset
	}
	return "none"
}

// anchor is what Markdown makes of a heading.
func anchor(path string) string { return strings.ReplaceAll(path, ".", "") }
