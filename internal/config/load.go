package config

import (
	"fmt"
	"strings"
)

// Source is where the values come from.
type Source struct {
	File  string            // path of the file; "": that of HAVN_CONFIG, or none
	Env   []string          // as of os.Environ
	Flags map[string]string // by key path, only those that were given
	Base  []Given           // of another program's file; everything else goes before it
}

const (
	fromDefault = "default"
	fileSuffix  = "_file"
	// maxSecret is longer than any password; it keeps a wrong path from being read whole.
	maxSecret = 4 << 10
)

// origin says where a key's value came from.
type origin struct {
	rank   int    // a higher one wins
	source string // "default", "havn.yaml:3", "environment HAVN_X", "flag --x"
	file   string // that holds it, if it is a secret in a file of its own
}

// loading is a load under way.
type loading struct {
	c        *Config
	keys     map[string]key
	paths    []string
	problems Problems
	warnings []Warning
}

// The ranks of the sources.
const (
	rankBase = iota + 1
	rankFile
	rankEnv
	rankFlag
)

// Load reads the configuration from its sources and checks it. The error is of kind Invalid, and its cause are all Problems at once.
// Files that the configuration names (certificates) are not looked at: see Probe.
func Load(from Source) (*Config, []Warning, error) {
	l := &loading{c: Default(), keys: map[string]key{}}
	for _, k := range keys() {
		l.keys[k.path] = k
		l.paths = append(l.paths, k.path)
		if k.secret {
			l.paths = append(l.paths, k.path+fileSuffix)
		}
	}
	set, names := variables(from.Env)
	file := from.File
	if file == "" {
		file = set[fileVariable]
	}
	if file != "" {
		l.file(file)
	}
	l.environment(set, names)
	for _, path := range l.paths {
		if given, ok := from.Flags[path]; ok {
			l.take(path, l.split(path, given), origin{rank: rankFlag, source: "flag --" + key{path: path}.flagName()})
		}
	}
	l.base(from.Base)
	if len(l.problems) == 0 {
		l.problems = l.c.consistent()
	}
	if len(l.problems) > 0 {
		return nil, l.warnings, Invalid(l.problems)
	}
	l.weak()
	return l.c, l.warnings, nil
}

const (
	// shortPassword is the length in bytes below which a password is told to be guessed.
	shortPassword = 8
	// harborPassword is what harbor.cfg has before anybody edits it.
	harborPassword = "Harbor12345"
)

// weak warns of a password that others will guess. Of what comes from a harbor.cfg, whoever reads that file warns.
func (l *loading) weak() {
	from := l.c.origins["admin.password"]
	switch password := l.c.Admin.Password.Reveal(); {
	case password == "" || from.rank == rankBase:
	case len(password) < shortPassword:
		l.warnings = append(l.warnings, Warning(fmt.Sprintf("admin.password (%s) has fewer than %d bytes, and will be guessed", from.source, shortPassword)))
	case password == harborPassword:
		l.warnings = append(l.warnings, Warning("admin.password ("+from.source+") is that of Harbor's sample, which everybody knows"))
	}
}

func (l *loading) file(name string) {
	entries, problems := readFile(name)
	l.problems = append(l.problems, problems...)
	for _, e := range entries {
		where := fmt.Sprintf("%s:%d", name, e.line)
		k, known := l.keys[e.path]
		if !known { // a key's own name may end like that of a secret's file
			k, known = l.keys[strings.TrimSuffix(e.path, fileSuffix)]
			known = known && k.secret
		}
		switch {
		case !known:
			l.unknown(where, e)
		case e.value == nil:
			l.blame(where, e.path, k, "has no value; leave the line out for the default")
		case e.list && !k.list:
			l.blame(where, e.path, k, "is a list, and the key takes one value")
		case !e.list && k.list:
			l.take(e.path, commas(e.value[0]), origin{rank: rankFile, source: where})
		default:
			l.take(e.path, e.value, origin{rank: rankFile, source: where})
		}
	}
}

// unknown explains a key of the file that is not in the table. An empty section is no key.
func (l *loading) unknown(where string, e entry) {
	var inside []string
	for _, p := range l.paths {
		if strings.HasPrefix(p, e.path+".") {
			inside = append(inside, strings.TrimPrefix(p, e.path+"."))
		}
	}
	if len(inside) > 0 {
		if e.value != nil {
			l.problems = append(l.problems, Problem{where, e.path, "is a section and takes no value itself", "below it: " + strings.Join(inside, ", ")})
		}
		return
	}
	shown := e.path
	if len(shown) > maxKey {
		shown = shown[:maxKey] + "…"
	}
	p := Problem{Where: where, Key: shown, Text: "is an unknown key", Allowed: "the keys of `havn config reference`"}
	if near, ok := Nearest(e.path, l.paths); ok {
		p.Text += "; did you mean " + near + "?"
	}
	l.problems = append(l.problems, p)
}

func (l *loading) environment(set map[string]string, names []string) {
	byName := map[string]string{}
	var known []string
	for _, path := range l.paths {
		name := key{path: path}.env()
		byName[name] = path
		known = append(known, name)
	}
	for _, name := range names {
		path, ok := byName[name]
		switch {
		case ok:
			l.take(path, l.split(path, set[name]), origin{rank: rankEnv, source: "environment " + name})
		case name == fileVariable || name == HarborVariable || isClients(name) || injected(name, set[name]):
		default:
			w := "the environment's " + name + " is no variable of Havn's and is ignored"
			if near, found := Nearest(name, known); found {
				w += "; did you mean " + near + "?"
			}
			l.warnings = append(l.warnings, Warning(w))
		}
	}
}

// split makes a value of a text as variables and flags have it.
func (l *loading) split(path, text string) value {
	if l.keys[path].list {
		return commas(text)
	}
	return value{text}
}

// take sets a key, or reads its secret from the file that the key with _file names. Within one source, only one of both may be given.
func (l *loading) take(path string, v value, o origin) {
	k, ok := l.keys[path]
	if !ok {
		k = l.keys[strings.TrimSuffix(path, fileSuffix)]
		o.file = v[0]
		body, err := readBounded(v[0], maxSecret)
		if err != nil {
			l.problems = append(l.problems, Problem{o.source, path, fmt.Sprintf("%q: %s", v[0], plainError(err)), "a readable file that holds the secret"})
			return
		}
		v = value{strings.TrimRight(string(body), "\r\n")}
		if v[0] == "" {
			l.problems = append(l.problems, Problem{o.source, path, "names an empty file", "a readable file that holds the secret"})
			return
		}
	}
	if before := l.c.origins[k.path]; before.rank == o.rank {
		l.problems = append(l.problems, Problem{o.source, path, "and " + before.source + " both set " + k.path, "one of them"})
		return
	}
	if err := k.set(l.c, v); err != nil {
		l.blame(o.source, path, k, err.Error())
		return
	}
	l.c.origins[k.path] = o
}

func (l *loading) blame(where, path string, k key, text string) {
	p := Problem{Where: where, Key: path, Text: text, Allowed: k.allowed}
	if k.example != "" {
		p.Allowed += "; example: " + k.example
	}
	l.problems = append(l.problems, p)
}
