package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	// maxFile is far beyond any real configuration; it keeps a wrong path (a disk image, /dev/zero) from being read whole.
	maxFile = 256 << 10
	// maxDepth of brackets and indentation: keys go three deep, and the parser's stack is not endless.
	maxDepth = 64
)

// entry is one key that the file gives.
type entry struct {
	path  string
	line  int
	value value
	list  bool
}

// readFile answers the entries of a file and what is wrong with its form.
func readFile(path string) ([]entry, Problems) {
	body, err := readBounded(path, maxFile)
	if err != nil {
		return nil, Problems{{Where: path, Text: plainError(err), Allowed: "a readable YAML file"}}
	}
	return parseFile(path, body)
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) (body []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer closeInto(&err, f)
	body, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("is larger than %s", writeSize(limit))
	}
	return body, err
}

func closeInto(err *error, c io.Closer) { *err = errors.Join(*err, c.Close()) }

// plainError answers an error of the file system without the path, which the problem names already.
func plainError(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// parseFile reads YAML strictly: mappings of keys, with texts or lists of texts at the ends. No anchors, tags or merges.
func parseFile(name string, body []byte) (entries []entry, problems Problems) {
	w := &walk{name: name}
	if depth(body) > maxDepth {
		return nil, Problems{{Where: name, Text: fmt.Sprintf("is nested deeper than %d", maxDepth), Allowed: "sections, keys and values"}}
	}
	defer func() {
		// The parser is not ours; a file that makes it stumble is a wrong file, not a crash.
		if r := recover(); r != nil {
			entries, problems = nil, Problems{{Where: name, Text: fmt.Sprintf("is not YAML: the parser gave up (%v)", r), Allowed: "YAML"}}
		}
	}()
	file, err := parser.ParseBytes(body, 0)
	if err != nil {
		return nil, Problems{syntax(name, err)}
	}
	docs := 0
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if docs++; docs > 1 {
			w.problem(doc.Body, "", "is a second document in the file", "one document")
			break
		}
		w.section("", doc.Body)
	}
	return w.entries, w.problems
}

// depth bounds how deep a parser may have to go: open brackets and indentation.
func depth(body []byte) int {
	deepest, open, indent := 0, 0, 0
	start := true
	for _, b := range body {
		switch {
		case b == '\n':
			start, indent = true, 0
		case start && (b == ' ' || b == '-' || b == '?' || b == '\t' || b == ':' || b == '!' || b == '&'):
			indent++
		case b == '[' || b == '{':
			open++
			start = false
		case b == ']' || b == '}':
			open = max(open-1, 0)
			start = false
		default:
			start = false
		}
		deepest = max(deepest, open+indent/2)
	}
	return deepest
}

func syntax(name string, err error) Problem {
	p := Problem{Where: name, Text: err.Error(), Allowed: "YAML: sections and `key: value`"}
	var y yaml.Error
	if errors.As(err, &y) {
		p.Text = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			p.Where = fmt.Sprintf("%s:%d", name, t.Position.Line)
		}
	}
	return p
}

// walk collects entries and problems on the way through the tree.
type walk struct {
	name     string
	entries  []entry
	problems Problems
}

func line(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

func (w *walk) problem(n ast.Node, key, text, allowed string) {
	w.problems = append(w.problems, Problem{Where: fmt.Sprintf("%s:%d", w.name, line(n)), Key: key, Text: text, Allowed: allowed})
}

// section reads a mapping of keys below a path.
func (w *walk) section(path string, n ast.Node) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			w.pair(path, v)
		}
	case *ast.MappingValueNode:
		w.pair(path, n)
	case *ast.NullNode, *ast.CommentGroupNode:
	default:
		w.problem(n, path, "is a "+describe(n), "sections and `key: value`")
	}
}

func (w *walk) pair(path string, pair *ast.MappingValueNode) {
	var name string
	switch k := pair.Key.(type) {
	case *ast.StringNode:
		name = k.Value
	case *ast.MergeKeyNode:
		w.problem(pair, path, "merge keys (<<) are not read", "`key: value`")
		return
	default:
		name = k.GetToken().Value
	}
	if path != "" {
		name = path + "." + name
	}
	if m, ok := pair.Value.(*ast.MappingNode); ok && len(m.Values) == 0 {
		w.entries = append(w.entries, entry{path: name, line: line(pair.Key)})
		return
	}
	switch v := pair.Value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		if len(name) > maxKey {
			w.problem(pair, "", "is an unknown key of "+fmt.Sprint(len(name))+" letters", "the keys of `havn config reference`")
			return
		}
		w.section(name, v)
	default:
		w.leaf(name, pair, v)
	}
}

// maxKey is longer than any key; what is longer is not repeated in an error message.
const maxKey = 200

func (w *walk) leaf(path string, pair *ast.MappingValueNode, n ast.Node) {
	e := entry{path: path, line: line(pair.Key)}
	switch v := n.(type) {
	case *ast.SequenceNode:
		e.list, e.value = true, value{}
		for _, item := range v.Values {
			s, ok := scalar(item)
			if !ok {
				w.problem(item, path, "has a "+describe(item)+" in its list", "a list of plain values")
				return
			}
			e.value = append(e.value, s)
		}
	default:
		s, ok := scalar(n)
		if !ok {
			w.problem(pair.Key, path, "is a "+describe(n), "a plain value, or a list of them")
			return
		}
		if _, null := n.(*ast.NullNode); !null {
			e.value = value{s}
		}
	}
	w.entries = append(w.entries, e)
}

// scalar answers the text of a plain value as it is written, so that each key decides itself what it means.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		if v.Value == nil {
			return "", true
		}
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "section"
	case *ast.SequenceNode:
		return "list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "anchor or alias, which are not read"
	case *ast.TagNode:
		return "tagged value (!…), which is not read"
	case nil:
		return "nothing"
	}
	return "single value"
}
