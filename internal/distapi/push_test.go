package distapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/oci"
)

func TestEveryWayToPushABlobEndsInTheSameBlob(t *testing.T) {
	t.Parallel()
	s := start(t)
	const text = "0123456789abcdef"
	d := sum(text)
	patch := func(at, body string, options ...with) string {
		a := s.do(http.MethodPatch, at, body, options...).is(http.StatusAccepted)
		if a.header.Get("Docker-Upload-UUID") == "" || strings.Contains(a.location(), "?") || !strings.HasPrefix(a.location(), "/v2/") {
			t.Errorf("Location %q, UUID %q", a.location(), a.header.Get("Docker-Upload-UUID"))
		}
		return a.location()
	}
	put := func(at, body string, options ...with) *answer {
		return s.do(http.MethodPut, at+"?digest="+d, body, options...).is(http.StatusCreated)
	}
	for name, push := range map[string]func(repo string) *answer{
		"POST": func(repo string) *answer {
			return s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d, text).is(http.StatusCreated)
		},
		"POST without a length": func(repo string) *answer {
			return s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d, text, streamed).is(http.StatusCreated)
		},
		"POST without the last slash":   func(repo string) *answer { return put(s.begin(repo), text) },
		"POST and PUT":                  func(repo string) *answer { return put(s.begin(repo), text) },
		"POST and PUT without a length": func(repo string) *answer { return put(s.begin(repo), text, streamed) },
		"stream":                        func(repo string) *answer { return put(patch(s.begin(repo), text, streamed), "") },
		"one PATCH":                     func(repo string) *answer { return put(patch(s.begin(repo), text), "") },
		"chunks": func(repo string) *answer {
			at := patch(s.begin(repo), text[:5], header("Content-Range", "0-4"))
			at = patch(at, text[5:10], header("Content-Range", "bytes 5-9/16"))
			return put(patch(at, text[10:]), "")
		},
		"a chunk without a length": func(repo string) *answer {
			return put(patch(s.begin(repo), text[:5], header("Content-Range", "0-4"), streamed), text[5:])
		},
		"the last chunk in the PUT": func(repo string) *answer {
			return put(patch(s.begin(repo), text[:5], header("Content-Range", "0-4")), text[5:], header("Content-Range", "5-15"))
		},
		"a path without offset": func(repo string) *answer {
			at := s.begin(repo)
			at = at[:strings.LastIndexByte(at, '/')]
			patch(at, text[:5], header("Content-Range", "0-4"))
			return put(at, text[5:], header("Content-Range", "5-15"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			repo := "ways/" + strings.ToLower(strings.ReplaceAll(name, " ", "-"))
			push(repo).has("Location", "/v2/"+repo+"/blobs/"+d).has("Docker-Content-Digest", d)
			if got := s.do(http.MethodGet, "/v2/"+repo+"/blobs/"+d, nil).is(http.StatusOK); string(got.body) != text {
				t.Errorf("got %q", got.body)
			}
		})
	}
}

func TestAnUploadSaysWhereItStands(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.do(http.MethodPost, "/v2/app/blobs/uploads/", nil).is(http.StatusAccepted).has("Range", "0-0").has("OCI-Chunk-Min-Length", "1048576")
	id := begun.header.Get("Docker-Upload-UUID")
	begun.has("Location", "/v2/app/blobs/uploads/"+id+"/0")
	next := s.do(http.MethodPatch, begun.location(), "12345").is(http.StatusAccepted).has("Range", "0-4").has("Location", "/v2/app/blobs/uploads/"+id+"/5").location()
	for _, path := range []string{begun.location(), next, "/v2/app/blobs/uploads/" + id, "/v2/library/app/blobs/uploads/" + id} {
		s.do(http.MethodGet, path, nil).is(http.StatusNoContent).has("Range", "0-4").has("Docker-Upload-UUID", id)
	}
	s.do(http.MethodDelete, next, nil).is(http.StatusNoContent)
	s.do(http.MethodGet, next, nil).is(http.StatusNotFound, oci.CodeBlobUploadUnknown)
	s.do(http.MethodPatch, next, "6").is(http.StatusNotFound, oci.CodeBlobUploadUnknown)
	s.do(http.MethodDelete, next, nil).is(http.StatusNotFound, oci.CodeBlobUploadUnknown)
}

func TestAChunkOutOfPlaceIsRefusedWithWhatIsThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	next := s.do(http.MethodPatch, begun, "12345").is(http.StatusAccepted).location()
	ahead := strings.TrimSuffix(next, "/5") + "/9"
	for what, again := range map[string]func() *answer{
		"repeated":                func() *answer { return s.do(http.MethodPatch, begun, "12345") },
		"overlapping":             func() *answer { return s.do(http.MethodPatch, begun, "1234567", header("Content-Range", "0-6")) },
		"overlapping by range":    func() *answer { return s.do(http.MethodPatch, next, "4567", header("Content-Range", "3-6")) },
		"ahead":                   func() *answer { return s.do(http.MethodPatch, ahead, "0") },
		"ahead by range":          func() *answer { return s.do(http.MethodPatch, next, "0", header("Content-Range", "9-9")) },
		"a PUT behind":            func() *answer { return s.do(http.MethodPut, begun+"?digest="+sum("12345"), "") },
		"a PUT ahead with a body": func() *answer { return s.do(http.MethodPut, ahead+"?digest="+sum("x"), "x") },
	} {
		a := again()
		if a.status != http.StatusRequestedRangeNotSatisfiable || a.location() != next || a.header.Get("Range") != "0-4" {
			t.Errorf("%s: status %d, Location %s, Range %s", what, a.status, a.location(), a.header.Get("Range"))
		}
		if p := a.problems(); p[0].Code != oci.CodeBlobUploadInvalid || p[0].Detail != nil {
			t.Errorf("%s: %+v", what, p)
		}
	}
	s.do(http.MethodPut, next+"?digest="+sum("1234567"), "67").is(http.StatusCreated)
}

func TestAContentRangeSaysWhereAChunkGoesWhateverLocationItIsSentTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	s.do(http.MethodPatch, begun, "12345", header("Content-Range", "0-4")).is(http.StatusAccepted).has("Range", "0-4")
	next := s.do(http.MethodPatch, begun, "67", header("Content-Range", "5-6")).is(http.StatusAccepted).has("Range", "0-6").location()
	for _, again := range []*answer{
		s.do(http.MethodPatch, begun, "67", header("Content-Range", "5-6")),
		s.do(http.MethodPatch, next, "67", header("Content-Range", "5-6")),
		s.do(http.MethodPatch, begun, "12345"),
		s.do(http.MethodPut, begun+"?digest="+sum("12345"), "12345", header("Content-Range", "0-4")),
	} {
		again.is(http.StatusRequestedRangeNotSatisfiable, oci.CodeBlobUploadInvalid).has("Range", "0-6").has("Location", next)
	}
	s.do(http.MethodPut, begun+"?digest="+sum("123456789"), "89", header("Content-Range", "7-8")).is(http.StatusCreated)
}

func TestAPutIsAnsweredTheSameAgainAndNothingElseGoesToADoneUpload(t *testing.T) {
	t.Parallel()
	s := start(t)
	next := s.do(http.MethodPatch, s.begin("app"), "12345").is(http.StatusAccepted).location()
	for range 3 {
		s.do(http.MethodPut, next+"?digest="+sum("12345"), nil).is(http.StatusCreated).has("Docker-Content-Digest", sum("12345"))
	}
	s.do(http.MethodPut, next+"?digest="+sum("other"), nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
	s.do(http.MethodPatch, next, "6").is(http.StatusNotFound, oci.CodeBlobUploadUnknown)
	s.do(http.MethodGet, next, nil).is(http.StatusNotFound, oci.CodeBlobUploadUnknown)
}

func TestBadUploadsChangeNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	unknown := begun[:len("/v2/app/blobs/uploads/")] + strings.Repeat("0", 32) + "/0"
	digest := "?digest=" + sum("12345")
	for _, c := range []struct {
		what, method, path, body string
		status                   int
		code                     string
		options                  []with
	}{
		{"a digest that does not match", http.MethodPost, "/v2/app/blobs/uploads/" + digest, "54321", 400, oci.CodeDigestInvalid, nil},
		{"a digest that does not match, in a PUT", http.MethodPut, begun + digest, "54321", 400, oci.CodeDigestInvalid, nil},
		{"no digest", http.MethodPut, begun, "12345", 400, oci.CodeDigestInvalid, nil},
		{"a digest of an unknown algorithm", http.MethodPut, begun + "?digest=md5:abc", "12345", 400, oci.CodeDigestInvalid, nil},
		{"a digest in capitals", http.MethodPost, "/v2/app/blobs/uploads/?digest=" + strings.ToUpper(sum("12345")), "12345", 400, oci.CodeDigestInvalid, nil},
		{"an unknown algorithm", http.MethodPost, "/v2/app/blobs/uploads/?digest-algorithm=md5", "", 400, oci.CodeDigestInvalid, nil},
		{"a mount of no digest", http.MethodPost, "/v2/app/blobs/uploads/?mount=x&from=other", "", 400, oci.CodeDigestInvalid, nil},
		{"a mount from no name", http.MethodPost, "/v2/app/blobs/uploads/?mount=" + sum("x") + "&from=..%2Fetc", "", 400, oci.CodeNameInvalid, nil},
		{"an unknown upload", http.MethodPatch, unknown, "12345", 404, oci.CodeBlobUploadUnknown, nil},
		{"an unknown upload, finished", http.MethodPut, unknown + digest, "12345", 404, oci.CodeBlobUploadUnknown, nil},
		{"another repository's upload", http.MethodPatch, strings.Replace(begun, "/app/", "/other/", 1), "12345", 404, oci.CodeBlobUploadUnknown, nil},
		{"an offset that is no number", http.MethodPatch, begun + "x", "12345", 404, oci.CodeBlobUploadUnknown, nil},
		{"a negative offset", http.MethodPatch, strings.TrimSuffix(begun, "/0") + "/-1", "12345", 404, oci.CodeBlobUploadUnknown, nil},
		{"no offset", http.MethodPatch, strings.TrimSuffix(begun, "/0"), "12345", 400, oci.CodeBlobUploadInvalid, nil},
		{"a range that is none", http.MethodPatch, begun, "12345", 400, oci.CodeBlobUploadInvalid, []with{header("Content-Range", "4-0")}},
		{"a range that is nonsense", http.MethodPatch, begun, "12345", 400, oci.CodeBlobUploadInvalid, []with{header("Content-Range", "all")}},
		{"a range of another length", http.MethodPatch, begun, "12345", 400, oci.CodeSizeInvalid, []with{header("Content-Range", "0-9")}},
	} {
		a := s.do(c.method, c.path, c.body, c.options...)
		if a.status != c.status || a.problems()[0].Code != c.code {
			t.Errorf("%s: status %d, %s", c.what, a.status, a.body)
		}
	}
	s.do(http.MethodGet, begun, nil).is(http.StatusNoContent).has("Range", "0-0")
	s.do(http.MethodHead, "/v2/app/blobs/"+sum("12345"), nil).is(http.StatusNotFound)
	s.do(http.MethodHead, "/v2/app/blobs/"+sum("54321"), nil).is(http.StatusNotFound)
}

func TestAChunkWhoseLengthDiffersFromItsRangeIsKeptAsFarAsItCame(t *testing.T) {
	t.Parallel()
	s := start(t)
	for body, said := range map[string]string{"123": "0-4", "1234567": "0-4"} {
		begun := s.begin("app")
		s.do(http.MethodPatch, begun, body, header("Content-Range", said), streamed).is(http.StatusBadRequest)
		s.do(http.MethodGet, begun, nil).is(http.StatusNoContent).has("Range", fmt.Sprintf("0-%d", min(len(body), 5)-1))
	}
}

func TestSHA512(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := oci.Sum(oci.SHA512, []byte("12345")).String()
	at := s.do(http.MethodPost, "/v2/app/blobs/uploads/?digest-algorithm=sha512", nil).is(http.StatusAccepted).location()
	s.do(http.MethodPut, at+"?digest="+d, "12345").is(http.StatusCreated).has("Docker-Content-Digest", d)
	late := s.do(http.MethodPatch, s.begin("late"), "12345").is(http.StatusAccepted).location()
	s.do(http.MethodPut, late+"?digest="+d, nil).is(http.StatusCreated)
	s.do(http.MethodGet, "/v2/late/blobs/"+d, nil).is(http.StatusOK).has("ETag", `"`+d+`"`)
}

func TestWhatCameOfABrokenBodyIsThereToGoOnFrom(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.host)
	s.ok(err)
	_, err = fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: havn\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n12345", begun, s.token("repository:app:pull,push"))
	s.ok(err)
	s.ok(c.Close())
	var at *answer
	s.eventually("the bytes that came are durable", func() bool {
		at = s.do(http.MethodGet, begun, nil).is(http.StatusNoContent)
		return at.header.Get("Range") == "0-4"
	})
	s.do(http.MethodPut, at.location()+"?digest="+sum("1234567"), "67").is(http.StatusCreated)
}

func TestAHalfClosedClientReadsWhereItsBodyBroke(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.host)
	s.ok(err)
	defer s.close(c)
	_, err = fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: havn\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n12345", begun, s.token("repository:app:pull,push"))
	s.ok(err)
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("%T", c)
	}
	s.ok(tcp.CloseWrite())
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	s.ok(err)
	defer s.close(response.Body)
	text, err := io.ReadAll(response.Body)
	s.ok(err)
	if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), oci.CodeBlobUploadInvalid) {
		t.Errorf("status %d: %s", response.StatusCode, text)
	}
}

func TestTwoClientsAppendToOneUploadAndOneWins(t *testing.T) {
	t.Parallel()
	s := start(t)
	begun := s.begin("app")
	var group sync.WaitGroup
	answers := make([]*answer, 8)
	for i := range answers {
		group.Go(func() { answers[i] = s.do(http.MethodPatch, begun, strings.Repeat(fmt.Sprint(i), 1000)) })
	}
	group.Wait()
	won := ""
	for i, a := range answers {
		switch a.status {
		case http.StatusAccepted:
			won += strings.Repeat(fmt.Sprint(i), 1000)
		case http.StatusRequestedRangeNotSatisfiable:
			a.has("Range", "0-999")
		default:
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	if len(won) != 1000 {
		t.Fatalf("%d bytes won", len(won))
	}
	s.do(http.MethodPut, s.do(http.MethodGet, begun, nil).location()+"?digest="+sum(won), nil).is(http.StatusCreated)
}

func TestManyClientsCommitOneDigestAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.begin("app")
	d := sum(layer)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if a := s.do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+d, layer); a.status != http.StatusCreated {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	group.Wait()
	if got := s.do(http.MethodGet, "/v2/app/blobs/"+d, nil).is(http.StatusOK); string(got.body) != layer {
		t.Errorf("%q", got.body)
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.pushBlob("secret/source", layer)
	s.pushBlob("app", config)
	mount := func(repo, digest, from string, options ...with) *answer {
		return s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?mount="+digest+from, nil, options...)
	}
	mount("a/one", d, "&from=secret/source").is(http.StatusCreated).has("Location", "/v2/a/one/blobs/"+d).has("Docker-Content-Digest", d)
	mount("a/two", d, "").is(http.StatusCreated)
	s.do(http.MethodGet, "/v2/a/two/blobs/"+d, nil).is(http.StatusOK)
	// A token for the target alone is enough where its subject may pull.
	mount("a/three", d, "&from=secret/source", bearer(s.token("repository:a/three:pull,push"))).is(http.StatusCreated)
	// What is not there begins an upload; with a digest and a body, it is that push.
	for _, from := range []string{"&from=secret/source", "&from=no/where", ""} {
		at := mount("a/four", sum("absent"), from).is(http.StatusAccepted).location()
		s.do(http.MethodPut, at+"?digest="+sum("12345"), "12345").is(http.StatusCreated)
	}
	s.do(http.MethodPost, "/v2/a/five/blobs/uploads/?mount="+sum("new")+"&from=app&digest="+sum("new"), "new").is(http.StatusCreated)
}
