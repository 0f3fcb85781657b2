package distapi_test

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/havn-registry/havn/internal/oci"
)

// mostParts is how many ranges one answer may have.
const mostParts = 100

// FuzzRange asks for any range of a blob that is one object, one file, or several objects. Whatever is asked for, the answer is the whole blob, parts of it that are what their Content-Range
// says, or the API's refusal; and all three are answered for alike. Of an empty blob there are no parts.
func FuzzRange(f *testing.F) {
	text := noisy(5 << 12) // large enough for sendfile
	var files atomic.Int64
	blobs := map[string]http.Handler{}
	path := ""
	for where, change := range map[string]func(*settings){"object": func(*settings) {}, "file": onDisk(f)} {
		s := start(f, change)
		path = "/v2/app/blobs/" + s.pushBlob("app", text)
		blobs[where] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(direct{w, &files}, r) })
	}
	s := start(f)
	empty := "/v2/app/blobs/" + s.pushBlob("app", "")
	location := s.begin("app")
	for _, piece := range []string{text[:10], text[10 : 1<<13], text[1<<13:]} {
		location = s.do(http.MethodPatch, location, piece).is(http.StatusAccepted).location()
	}
	s.do(http.MethodPut, location+"?digest="+sum(text), nil).is(http.StatusCreated)
	blobs["objects"] = s.handler

	for _, seed := range []string{
		"", "bytes=0-3", "bytes=5-20", "bytes=10-", "bytes=-2", "bytes=-0", "bytes=-+00", "bytes=-0,0-1", "bytes= - 0 ,", "bytes=-5", "bytes", "bytes=0-99999", "bytes=20479-20479", "bytes=20480-", "bytes=5-0", "bytes=500-0", "bytes=x-", "bytes=", "bytes=-", "items=0-1",
		"bytes=0-1,4-5,-1", "bytes=9-9,0-0", "bytes=0-1,99999-", "bytes=0-1,x", "bytes= 0-1 , 3-4", "bytes=0-,0-", "bytes=0-20479,0-0", "bytes=1-10000,10001-20000", "bytes=9223372036854775807-",
		"bytes=0-18446744073709551616", "bytes=--1", "bytes=+1-2", "bytes=0-0\x00", "bytes=٠-٩", "bytes=" + strings.Repeat("0-0,", mostParts-1) + "1-1", "bytes=" + strings.Repeat("0-0,", mostParts) + "1-1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, asked string) {
		ask := func(handler http.Handler, path, text string) string {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("Range", asked)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r) // library is pulled from without credentials
			got, err := judgeRange(w, text, asked)
			if err != nil {
				t.Fatalf("Range %q of %d bytes: status %d, %v: %v", asked, len(text), w.Code, w.Header(), err)
			}
			return got
		}
		ask(s.handler, empty, "")
		said := map[string]string{}
		for where, handler := range blobs {
			said[where] = ask(handler, path, text)
		}
		if said["file"] != said["object"] || said["objects"] != said["object"] {
			t.Fatalf("Range %q: %q", asked, said)
		}
	})
}

// judgeRange looks at one answer, and answers its status and what it has of the blob.
func judgeRange(w *httptest.ResponseRecorder, text, asked string) (string, error) {
	body, header := w.Body.String(), w.Header()
	if length := header.Get("Content-Length"); w.Code < http.StatusBadRequest && length != strconv.Itoa(len(body)) {
		return "", fmt.Errorf("Content-Length %s, and %d bytes", length, len(body))
	}
	from, to, single := plainRange(asked)
	switch w.Code {
	case http.StatusOK:
		if single && from < len(text) || body != text {
			return "", fmt.Errorf("%d bytes", len(body))
		}
		return "the whole", nil
	case http.StatusRequestedRangeNotSatisfiable:
		if single && from < len(text) || !strings.Contains(body, oci.CodeRangeInvalid) {
			return "", fmt.Errorf("%s", body)
		}
		return "refused", nil
	case http.StatusPartialContent:
		parts, err := partsOf(header, body, text)
		if want := fmt.Sprintf("bytes %d-%d/%d\n", from, min(to, len(text)-1), len(text)); err == nil && single && parts != want {
			err = fmt.Errorf("%q, want %q", parts, want)
		}
		return parts, err
	}
	return "", fmt.Errorf("%s", body)
}

// plainRange reads the form that nobody can read in two ways, written down again to know it.
func plainRange(s string) (from, to int, ok bool) {
	n, err := fmt.Sscanf(s, "bytes=%d-%d", &from, &to)
	return from, to, n == 2 && err == nil && from >= 0 && from <= to && s == fmt.Sprintf("bytes=%d-%d", from, to)
}

// partsOf compares a part, or several, with the bytes of the blob where they say that they are, and answers where that is.
func partsOf(header http.Header, body, text string) (string, error) {
	kind, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		return partOf(header.Get("Content-Range"), body, text)
	}
	all, sum, n := "", 0, 0
	for reader := multipart.NewReader(strings.NewReader(body), parameters["boundary"]); ; n++ {
		part, nextErr := reader.NextRawPart()
		if nextErr == io.EOF {
			break
		}
		if nextErr != nil {
			return "", nextErr
		}
		content, readErr := io.ReadAll(part)
		if readErr != nil {
			return "", readErr
		}
		where, partErr := partOf(part.Header.Get("Content-Range"), string(content), text)
		if partErr != nil {
			return "", partErr
		}
		all += where
		sum += len(content)
	}
	if n < 2 || n > mostParts || sum > len(text) {
		return "", fmt.Errorf("%d parts with %d bytes", n, sum)
	}
	return all, nil
}

func partOf(where, content, text string) (string, error) {
	var from, to, size int
	if _, err := fmt.Sscanf(where, "bytes %d-%d/%d", &from, &to, &size); err != nil {
		return "", fmt.Errorf("Content-Range %q: %w", where, err)
	}
	if from < 0 || to < from || to >= len(text) || size != len(text) || content != text[from:to+1] {
		return "", fmt.Errorf("Content-Range %q with %d bytes", where, len(content))
	}
	return where + "\n", nil
}
