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

// maxDepth bounds nesting; real manifests have about six levels.
const maxDepth = 64

// known are the keys that the registry reads. encoding/json takes "Layers" for "layers", another parser may not: both spellings in one object
// would be a manifest with two meanings, so other spellings of known keys are refused.
var known = map[string]bool{
	"schemaversion": true, "mediatype": true, "artifacttype": true, "config": true, "layers": true, "manifests": true, "subject": true,
	"annotations": true, "digest": true, "size": true, "urls": true, "platform": true, "fslayers": true,
}

var spelled = map[string]bool{
	"schemaVersion": true, "mediaType": true, "artifactType": true, "config": true, "layers": true, "manifests": true, "subject": true,
	"annotations": true, "digest": true, "size": true, "urls": true, "platform": true, "fsLayers": true,
}

// checkJSON refuses what parsers disagree on: duplicate keys, keys that differ from known ones in case alone, bytes behind the value, text that is not UTF-8;
// and nesting beyond maxDepth.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return invalid(nil, "manifest that is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return invalid(err, "manifest")
	}
	if first != json.Delim('{') {
		return invalid(nil, "manifest that is no JSON object")
	}
	if err = checkObject(dec, 1, true); err != nil {
		return err
	}
	if _, err = dec.Token(); !errors.Is(err, io.EOF) {
		return invalid(nil, "manifest with bytes behind its JSON object")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int, ours bool) error {
	if depth > maxDepth {
		return invalid(nil, "manifest nested more than %d deep", maxDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return invalid(err, "manifest")
	}
	switch token {
	case json.Delim('{'):
		return checkObject(dec, depth, ours)
	case json.Delim('['):
		for dec.More() {
			if err = checkValue(dec, depth+1, ours); err != nil {
				return err
			}
		}
		_, err = dec.Token()
	}
	if err != nil {
		return invalid(err, "manifest")
	}
	return nil
}

// checkObject reads an object whose brace was read. ours says that its keys are the specification's, not a user's (annotations).
func checkObject(dec *json.Decoder, depth int, ours bool) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return invalid(err, "manifest")
		}
		key, ok := token.(string)
		if !ok {
			return fail.E(fail.Internal, nil, "JSON key %v", token)
		}
		if seen[key] {
			return invalid(nil, "manifest with the key %.100q twice in one object", key)
		}
		seen[key] = true
		if ours && known[strings.ToLower(key)] && !spelled[key] {
			return invalid(nil, "manifest with the key %.100q", key).Hint("keys are case-sensitive")
		}
		if err = checkValue(dec, depth+1, ours && key != "annotations" && key != "platform"); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return invalid(err, "manifest")
	}
	return nil
}
