package config

import (
	"fmt"
	"strings"
)

// Given is a value for a key that another program's configuration file gives, said in our terms. The file, the environment and the flags go before it,
// key by key.
type Given struct {
	Key     string   // path of the key, or of a secret's with _file; "" only with Wrong
	Value   []string // one text, or several if the key is a list
	Where   string   // file, line and the other program's word for it
	Wrong   string   // why there is no value; it is told only if the key has none from elsewhere
	Allowed string   // with Wrong: what would be right
	Only    Condition
}

// Condition is the value that another key must have in the end for a Given to count. The zero value always holds.
type Condition struct{ Key, Value string }

// Accepts reports whether there is such a key, and what is wrong with a value for it. A secret is not part of the error, and files that keys with _file name
// are not read.
func Accepts(path string, value ...string) (known bool, err error) {
	all := map[string]key{}
	for _, k := range keys() {
		all[k.path] = k
	}
	k, file, known := find(all, path)
	if !known || file {
		return known, nil
	}
	return true, k.set(Default(), value)
}

// find answers the key of a path, and whether the path is that of the file that holds its secret.
func find(all map[string]key, path string) (k key, file, known bool) {
	if k, known = all[path]; known {
		return k, false, true
	}
	k, known = all[strings.TrimSuffix(path, fileSuffix)]
	return k, true, known && k.secret
}

// Origin answers where the value of a key came from, as Settings says it. A key with _file is the secret that its file holds.
func (c *Config) Origin(path string) string {
	if o, ok := c.origins[path]; ok {
		return o.source
	}
	return c.origins[strings.TrimSuffix(path, fileSuffix)].source
}

// base takes what nothing else has set.
func (l *loading) base(all []Given) {
	for _, g := range all {
		if only, ok := l.keys[g.Only.Key]; ok && fmt.Sprint(only.show(l.c)) != g.Only.Value {
			continue
		}
		k, _, known := find(l.keys, g.Key)
		if l.c.origins[k.path].rank > rankBase {
			continue
		}
		switch {
		case g.Wrong != "":
			l.problems = append(l.problems, Problem{Where: g.Where, Text: g.Wrong, Allowed: g.Allowed})
		case !known:
			l.unknown(g.Where, entry{path: g.Key, value: g.Value})
		default:
			l.take(g.Key, g.Value, origin{rank: rankBase, source: g.Where})
		}
	}
}
