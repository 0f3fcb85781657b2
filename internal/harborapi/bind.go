package harborapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
)

// where a parameter stands.
type where string

const (
	inPath   where = "path"
	inQuery  where = "query"
	inHeader where = "header"
)

// binder reads the parameters of a request, as the document has them. err is the first that can't be read: 422, as in Harbor.
type binder struct {
	r     *http.Request
	query url.Values
	err   error
}

func newBinder(r *http.Request) *binder { return &binder{r: r, query: r.URL.Query()} }

// raw answers a parameter as it was sent. Of several in the query the first counts.
func (b *binder) raw(in where, name string) (string, bool) {
	var text string
	var ok bool
	switch in {
	case inPath:
		text, ok = b.r.PathValue(name), true
	case inHeader:
		text = b.r.Header.Get(name)
		ok = text != ""
	default:
		text, ok = b.query.Get(name), b.query.Has(name)
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		b.refuse(in, name, text, "a text")
		return "", false
	}
	return text, ok
}

func (b *binder) refuse(in where, name, text, want string) {
	if b.err == nil {
		b.err = fail.E(fail.Invalid, nil, "%s in %s: %.60q", name, in, text).Code(codeUnprocessable).Hint("it is %s", want)
	}
}

// string, integer and boolean read a parameter, and leave what is there where it is not sent. An empty number or flag counts as not sent.
func (b *binder) string(in where, name string, to *string) {
	if text, ok := b.raw(in, name); ok {
		*to = text
	}
}

func (b *binder) integer(in where, name string, to *int64) {
	text, ok := b.raw(in, name)
	if !ok || text == "" {
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		b.refuse(in, name, text, "a number")
		return
	}
	*to = n
}

func (b *binder) boolean(in where, name string, to *bool) {
	var read *bool
	if b.maybeBoolean(in, name, &read); read != nil {
		*to = *read
	}
}

// maybeBoolean reads a flag of which it counts whether it was sent.
func (b *binder) maybeBoolean(in where, name string, to **bool) {
	text, ok := b.raw(in, name)
	if !ok || text == "" {
		return
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		b.refuse(in, name, text, "true or false")
		return
	}
	*to = &v
}

// require wants a parameter to be sent.
func (b *binder) require(in where, name string) { //nolint:unparam // generated code says where
	if text, ok := b.raw(in, name); !ok || text == "" {
		b.refuse(in, name, text, "needed")
	}
}
