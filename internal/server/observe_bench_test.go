package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

// silent is a ResponseWriter that costs nothing.
type silent struct{ header http.Header }

func (s silent) Header() http.Header         { return s.header }
func (s silent) Write(p []byte) (int, error) { return len(p), nil }
func (s silent) WriteHeader(int)             {}

// BenchmarkObserver is what each request pays for its id, its counters and its line of the access log.
func BenchmarkObserver(b *testing.B) {
	front := server.Observed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	req := httptest.NewRequest(http.MethodGet, "/v2/library/app/manifests/latest", nil)
	req.Header.Set("User-Agent", "docker/27.5.1 go/go1.23")
	w := silent{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		front.ServeHTTP(w, req)
	}
}

// BenchmarkAccessLine and BenchmarkSlogLine say why the access log writes its lines itself.
func BenchmarkAccessLine(b *testing.B) {
	at := time.Now()
	var e server.AccessEntry // kept, as the observer keeps it
	b.ReportAllocs()
	for b.Loop() {
		e.Line(config.JSON, at, "/v2/library/app/manifests/latest", "docker/27.5.1", 1234, time.Millisecond)
	}
}

func BenchmarkSlogLine(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "request", slog.String("path", "/v2/library/app/manifests/latest"), slog.String("agent", "docker/27.5.1"),
			slog.Int64("bytes", 1234), slog.Duration("took", time.Millisecond))
	}
}
