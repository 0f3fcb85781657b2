package harborapi

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/havn-registry/havn/internal/fail"
)

// document is the description of the API.
//
//go:embed openapi.yaml
var document []byte

//go:embed reference.html
var referencePage string

// pages is the reference for people, made when it is first asked for: parsing the document takes some 100 ms, and most processes are never asked.
type pages struct {
	once sync.Once
	text []byte
	err  error
}

func (a *API) serveReference(c *call) error {
	a.pages.once.Do(func() { a.pages.text, a.pages.err = renderReference(document) })
	if a.pages.err != nil {
		return fail.E(fail.Internal, a.pages.err, "write the reference of the API")
	}
	// The page has neither scripts nor anything of other sites.
	c.w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	return c.bytes(http.StatusOK, "text/html; charset=utf-8", a.pages.text)
}

// description is what the reference reads of the document.
type description struct {
	Paths      yaml.MapSlice `yaml:"paths"`
	Components struct {
		Parameters map[string]parameter `yaml:"parameters"`
		Schemas    yaml.MapSlice        `yaml:"schemas"`
	} `yaml:"components"`
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string `yaml:"name"`
	In          string `yaml:"in"`
	Required    bool   `yaml:"required"`
	Description string `yaml:"description"`
	Schema      struct {
		Type    string `yaml:"type"`
		Default any    `yaml:"default"`
		Minimum any    `yaml:"minimum"`
		Maximum any    `yaml:"maximum"`
	} `yaml:"schema"`
}

type content map[string]struct {
	Schema map[string]any `yaml:"schema"`
}

// entry is one operation in the reference.
type entry struct {
	Method, Path string
	ID           string      `yaml:"operationId"`
	Tags         []string    `yaml:"tags"`
	Summary      string      `yaml:"summary"`
	Access       string      `yaml:"x-havn-access"`
	Later        string      `yaml:"x-havn-later"`
	Never        string      `yaml:"x-havn-never"`
	Parameters   []parameter `yaml:"parameters"`
	RequestBody  struct {
		Content content `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]struct {
		Content content `yaml:"content"`
	} `yaml:"responses"`
}

// Body and Answer say what is sent and what comes back, "" for nothing.
func (e entry) Body() string { return e.RequestBody.Content.form() }

// Answer is Body for the answer.
func (e entry) Answer() string {
	for status, r := range e.Responses {
		if strings.HasPrefix(status, "2") {
			return r.Content.form()
		}
	}
	return ""
}

func (c content) form() string {
	for _, body := range c {
		return form(body.Schema)
	}
	return ""
}

// form says what a schema is in a word: string, Project, [Project].
func form(schema map[string]any) string {
	if ref, ok := schema["$ref"].(string); ok {
		return lastOf(ref)
	}
	kind := fmt.Sprint(schema["type"])
	switch kind {
	case "array":
		if items, ok := schema["items"].(map[string]any); ok {
			return "[" + form(items) + "]"
		}
	case "object":
		if values, ok := schema["additionalProperties"].(map[string]any); ok {
			return "{…: " + form(values) + "}"
		}
	}
	return kind
}

func lastOf(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// shape is one schema in the reference.
type shape struct {
	Name, Kind string
	Fields     []struct{ Name, Kind, Description string }
}

// renderReference makes the reference for people.
func renderReference(text []byte) ([]byte, error) {
	var d description
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	var page struct {
		Base     string
		Document string
		Tags     []string
		Entries  map[string][]entry
		Shapes   []shape
	}
	page.Base, page.Document, page.Entries = Base, documentPath, map[string][]entry{}
	for _, at := range d.Paths {
		entries, err := d.entries(at)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if page.Entries[e.Tags[0]] == nil {
				page.Tags = append(page.Tags, e.Tags[0])
			}
			page.Entries[e.Tags[0]] = append(page.Entries[e.Tags[0]], e)
		}
	}
	for _, s := range d.Components.Schemas {
		one, err := shapeOf(s)
		if err != nil {
			return nil, err
		}
		page.Shapes = append(page.Shapes, one)
	}
	t, err := template.New("reference").Parse(referencePage)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, page)
	return out.Bytes(), err
}

// entries reads the operations of one path.
func (d *description) entries(at yaml.MapItem) ([]entry, error) {
	var item struct {
		Parameters []parameter `yaml:"parameters"`
		Get        *entry      `yaml:"get"`
		Head       *entry      `yaml:"head"`
		Post       *entry      `yaml:"post"`
		Put        *entry      `yaml:"put"`
		Patch      *entry      `yaml:"patch"`
		Delete     *entry      `yaml:"delete"`
	}
	var all []entry
	raw, err := yaml.Marshal(at.Value)
	if err == nil {
		err = yaml.Unmarshal(raw, &item)
	}
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", at.Key, err)
	}
	for _, one := range []struct {
		method string
		entry  *entry
	}{
		{http.MethodGet, item.Get},
		{http.MethodHead, item.Head},
		{http.MethodPost, item.Post},
		{http.MethodPut, item.Put},
		{http.MethodPatch, item.Patch},
		{http.MethodDelete, item.Delete},
	} {
		if one.entry == nil {
			continue
		}
		e := *one.entry
		e.Method, e.Path = one.method, fmt.Sprint(at.Key)
		e.Parameters = slices.Concat(item.Parameters, e.Parameters)
		for i, p := range e.Parameters {
			if p.Ref != "" {
				e.Parameters[i] = d.Components.Parameters[lastOf(p.Ref)]
			}
		}
		all = append(all, e)
	}
	return all, nil
}

func shapeOf(item yaml.MapItem) (shape, error) {
	s := shape{Name: fmt.Sprint(item.Key)}
	var schema struct {
		Type       string        `yaml:"type"`
		Properties yaml.MapSlice `yaml:"properties"`
	}
	raw, err := yaml.Marshal(item.Value)
	if err == nil {
		err = yaml.Unmarshal(raw, &schema)
	}
	if err != nil {
		return s, fmt.Errorf("read the schema %s: %w", s.Name, err)
	}
	for _, p := range schema.Properties {
		var field map[string]any
		if raw, err = yaml.Marshal(p.Value); err == nil {
			err = yaml.Unmarshal(raw, &field)
		}
		if err != nil {
			return s, fmt.Errorf("read the schema %s: %w", s.Name, err)
		}
		words, told := field["description"].(string)
		if !told {
			words = ""
		}
		s.Fields = append(s.Fields, struct{ Name, Kind, Description string }{fmt.Sprint(p.Key), form(field), words})
	}
	if len(s.Fields) == 0 {
		var whole map[string]any
		if err = yaml.Unmarshal(raw, &whole); err != nil {
			return s, fmt.Errorf("read the schema %s: %w", s.Name, err)
		}
		s.Kind = form(whole)
	}
	return s, nil
}
