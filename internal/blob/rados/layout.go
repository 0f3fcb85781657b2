package rados

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// separator stands in the names of stripes, and in no object's.
	separator = "#"
	// stripeDigits make the names of an object's stripes sort in the order of their bytes.
	stripeDigits = 8
	// headAttr is the attribute of a RADOS object that says what it is the head of.
	headAttr = "havn"
	// headVersion begins the attribute's text.
	headVersion = "1"
	// maxHead is more than a head takes.
	maxHead = 256
)

// head is what Havn knows of an object beside its bytes.
type head struct {
	mark   string // of the writer: two heads with one mark are one
	size   int64  // bytes of the object
	stripe int64  // bytes of each stripe but the last; 0: the bytes are in the head's own RADOS object
}

func newMark() string { return strings.ToLower(rand.Text()) }

// text is the head as the attribute holds it.
func (h head) text() []byte {
	return []byte(strings.Join([]string{headVersion, h.mark, strconv.FormatInt(h.size, 10), strconv.FormatInt(h.stripe, 10)}, " "))
}

// parseHead reads what text wrote.
func parseHead(text []byte) (head, error) {
	words := strings.Split(string(text), " ")
	bad := func() (head, error) {
		return head{}, fail.E(fail.Internal, nil, "the attribute %s is %q, which is none of Havn's", headAttr, text).
			Hint("was it written by a newer version, or by another program?")
	}
	if len(words) != 4 || words[0] != headVersion || words[1] == "" || strings.Contains(words[1], separator) {
		return bad()
	}
	h := head{mark: words[1]}
	var err error
	if h.size, err = strconv.ParseInt(words[2], 10, 64); err != nil || h.size < 0 {
		return bad()
	}
	if h.stripe, err = strconv.ParseInt(words[3], 10, 64); err != nil || h.stripe < 0 {
		return bad()
	}
	return h, nil
}

// stripes answers how many stripes an object has beside its head.
func (h head) stripes() int64 {
	if h.stripe == 0 {
		return 0
	}
	return (h.size + h.stripe - 1) / h.stripe
}

// stripeName is the name of a stripe, counted from 0, of an object as one writer writes it.
func stripeName(object, mark string, n int64) string {
	return object + separator + mark + separator + fmt.Sprintf("%0*d", stripeDigits, n)
}

// stripeOf answers what a name is a stripe of; false if it is that of an object.
func stripeOf(name string) (object, mark string, ok bool) {
	i := strings.LastIndex(name, separator)
	if i < 0 {
		return "", "", false
	}
	j := strings.LastIndex(name[:i], separator)
	if j < 0 {
		return "", "", false
	}
	return name[:j], name[j+1 : i], true
}
