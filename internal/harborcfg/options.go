package harborcfg

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

// options are what registry_storage_provider_config holds: `key: value` pairs, joined by commas.
type options map[string]string

// parseOptions takes the pairs apart as Harbor does: at each comma, whatever is around it; then each part is one line of YAML in the configuration of
// docker-registry. Names that its driver does not know are refused and not repeated: they may be the rest of a password that a comma cut.
func parseOptions(text, driver string, names []string) (options, []string) {
	found := options{}
	var wrong []string
	for i, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" || part[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		switch _, twice := found[name]; {
		case strings.Contains(part, "\n"):
			wrong = append(wrong, fmt.Sprintf("its pair %d goes over two lines: end each line with a comma", i+1))
		case !ok:
			wrong = append(wrong, fmt.Sprintf("its part %d is not `key: value`: a value can't hold a comma, in Harbor neither", i+1))
		case !slices.Contains(names, name):
			wrong = append(wrong, stranger(i+1, name, driver, names))
		case twice:
			wrong = append(wrong, fmt.Sprintf("%s is there twice", name))
		default:
			plain, err := scalar(strings.TrimSpace(value))
			if err != "" {
				wrong = append(wrong, fmt.Sprintf("the value of %s %s", name, err))
				continue
			}
			found[name] = plain
		}
	}
	return found, wrong
}

// stranger says that a name is none, and which it may be, without repeating it.
func stranger(number int, name, driver string, names []string) string {
	text := fmt.Sprintf("its pair %d is no option of docker-registry's driver %s", number, driver)
	if near, ok := config.Nearest(name, names); ok {
		return text + "; was " + near + " meant?"
	}
	return text + "; a value can't hold a comma, in Harbor neither"
}

// scalar reads a value as YAML does, as far as one line can go; in words, what is wrong.
func scalar(s string) (value, wrong string) {
	if s == "" || s == "~" || s == "null" {
		return "", ""
	}
	switch s[0] {
	case '"':
		end := closing(s)
		if end < 0 || !trailing(s[end+1:]) || json.Unmarshal([]byte(s[:end+1]), &value) != nil {
			return "", "is not in quotes as YAML has them"
		}
		return value, ""
	case '\'':
		end := strings.LastIndexByte(s, '\'')
		inside := strings.ReplaceAll(s[1:max(end, 1)], "''", "")
		if end == 0 || strings.Contains(inside, "'") || !trailing(s[end+1:]) {
			return "", "is not in quotes as YAML has them"
		}
		return strings.ReplaceAll(s[1:end], "''", "'"), ""
	case '&', '*', '!', '|', '>', '%', '@', '`', '{', '[':
		return "", "begins with a letter that means something else in YAML, so that Harbor can't have used it: put it in quotes"
	case '#':
		return "", ""
	}
	s, _, _ = strings.Cut(s, " #")
	return strings.TrimSpace(s), ""
}

// closing answers where the quotes that the text begins with end.
func closing(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// trailing reports whether a text is nothing, or a comment.
func trailing(s string) bool {
	s = strings.TrimSpace(s)
	return s == "" || s[0] == '#'
}
