package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxDepth bounds nesting, and with it the stack; real manifests have about six levels.
	maxDepth = 64
	// maxKeys bounds the keys of one object, and with them the annotations of one descriptor: a map of half a million entries, which 4 MiB can
	// hold, would take ten times its text in memory.
	maxKeys = 10_000
	// maxDescriptors bounds one list of descriptors. A descriptor with all that it must have takes more than 105 bytes, so that 4 MiB never hold
	// more good ones; but they hold 1.4 million of `{}`, each of which would become a Descriptor in memory before it is refused.
	maxDescriptors = 40_000
)

// place is where in a manifest a value stands: only there do keys have the specification's meaning.
type place int

const (
	elsewhere   place = iota // annotations, platform, and what the registry does not know
	top                      // the manifest itself
	descriptor               // config, subject, a layer, a child
	descriptors              // layers, manifests
)

// keys answers the keys that the registry reads at a place.
func (p place) keys() []string {
	switch p {
	case top:
		return []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations", "fsLayers"}
	case descriptor:
		return []string{"mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType"}
	default:
		return nil
	}
}

// below answers the place of a key's value.
func (p place) below(key string) place {
	if p != top {
		return elsewhere
	}
	switch key {
	case "config", "subject":
		return descriptor
	case "layers", "manifests":
		return descriptors
	}
	return elsewhere
}

// checkJSON refuses what parsers disagree on: duplicate keys, keys that look like known ones, bytes behind the value, text that is not UTF-8; and
// what is beyond the bounds above. It does not look at values, except that a descriptor has a size: encoding/json can't tell 0 from none.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return invalid(nil, "manifest that is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return notJSON(err)
	}
	if first != json.Delim('{') {
		return invalid(nil, "manifest that is no JSON object")
	}
	if err = checkObject(dec, 1, top); err != nil {
		return err
	}
	if _, err = dec.Token(); !errors.Is(err, io.EOF) {
		return invalid(nil, "manifest with bytes behind its JSON object")
	}
	return nil
}

// notJSON is the error of a text that is no JSON. The decoder's own says at which byte.
func notJSON(cause error) error {
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	return invalid(cause, "manifest that is no JSON")
}

// checkValue reads one value and answers its first token.
func checkValue(dec *json.Decoder, depth int, at place) (json.Token, error) {
	if depth > maxDepth {
		return nil, invalid(nil, "manifest nested more than %d deep", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	switch token {
	case json.Delim('{'):
		err = checkObject(dec, depth, at)
	case json.Delim('['):
		err = checkList(dec, depth, at)
	}
	return token, err
}

// checkList reads a list whose bracket was read.
func checkList(dec *json.Decoder, depth int, at place) error {
	element := elsewhere
	if at == descriptors {
		element = descriptor
	}
	for n := 0; dec.More(); n++ {
		if element == descriptor && n >= maxDescriptors {
			return invalid(nil, "manifest with more than %d descriptors in one list", maxDescriptors)
		}
		if _, err := checkValue(dec, depth+1, element); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON(err)
	}
	return nil
}

// checkObject reads an object whose brace was read.
func checkObject(dec *json.Decoder, depth int, at place) error {
	seen := map[string]bool{}
	sized := false
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		key, ok := token.(string)
		if !ok {
			return fail.E(fail.Internal, nil, "JSON key %v", token)
		}
		if seen[key] {
			return invalid(nil, "manifest with the key %.100q twice in one object", key)
		}
		if len(seen) >= maxKeys {
			return invalid(nil, "manifest with more than %d keys in one object", maxKeys)
		}
		seen[key] = true
		if err = checkSpelling(at, key); err != nil {
			return err
		}
		token, err = checkValue(dec, depth+1, at.below(key))
		if err != nil {
			return err
		}
		if key == "size" {
			_, sized = token.(json.Number)
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON(err)
	}
	if at == descriptor && !sized {
		return invalid(nil, "descriptor without a size")
	}
	return nil
}

// checkSpelling refuses a key that encoding/json, and so most clients, would take for a known one: "Layers", or "layerſ" (Unicode folds ſ and s).
// Other parsers take it for an unknown key, so that the manifest would have two meanings. The specification wants unknown keys ignored; this is
// the one exception.
func checkSpelling(at place, key string) error {
	for _, k := range at.keys() {
		if key == k {
			return nil
		}
		if strings.EqualFold(key, k) {
			return invalid(nil, "manifest with the key %.100q", key).Hint("write %q: keys are case-sensitive, yet many clients would take one for the other", k)
		}
	}
	return nil
}
