package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/harborapi"
)

const (
	// streams is how many requests one HTTP/2 connection may have under way: what clients of registries use at most, several times over.
	streams = 128
	// streamBuffer is how much of one upload may be under way to us over HTTP/2, unread: half a MiB is what an upload may cost in memory.
	streamBuffer = 512 << 10
	connBuffer   = 1 << 20
)

// serveWith puts the handlers and the HTTP servers together.
func (s *Server) serveWith(ctx context.Context, api, harbor http.Handler, reg *prometheus.Registry) error {
	c := s.cfg
	var next http.Handler = &paths{api: api, harbor: harbor, ready: s.ready, clock: s}
	if c.Tracing.OTLPEndpoint != nil {
		t, err := newTracer(ctx, c, s.version, s.log, next)
		if err != nil {
			return err
		}
		s.tracer, next = t, t
	}
	origin := distapi.NewOrigin(nil, c.HTTP.TrustedProxies)
	front := &observer{
		next: next, out: s.lines, log: s.log, format: c.Log.Format, access: c.Log.Access, ids: newRequestIDs(), traffic: s.traffic,
		client: origin.Client, proxies: &strangeProxies{ignored: origin.Ignores, log: s.log, told: map[string]bool{}}, clock: s.clock, patient: c.HTTP.ProgressTimeout,
	}
	s.places = newPlaces(&c.HTTP, s.log, s.clock)
	s.http = &http.Server{
		Handler:           front,
		ReadHeaderTimeout: c.HTTP.HeaderTimeout,
		// Bodies have no time of their own: distapi moves the deadlines on while bytes move.
		WriteTimeout:   c.HTTP.ProgressTimeout,
		IdleTimeout:    c.HTTP.IdleTimeout,
		MaxHeaderBytes: int(c.HTTP.MaxHeaderBytes),
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // mostly of clients that go away in mid-handshake
		ConnState:      s.places.observe,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connBuffer,
			// On a slow line a ping, and its answer, are behind all that was sent before.
			SendPingTimeout: c.HTTP.ProgressTimeout, PingTimeout: c.HTTP.ProgressTimeout, WriteByteTimeout: c.HTTP.ProgressTimeout,
		},
	}
	if s.cert != nil {
		s.http.TLSConfig = s.cert.config()
	}
	if s.inside != nil {
		s.metrics = &http.Server{Handler: insideHandler(reg, s.ready), ReadHeaderTimeout: c.HTTP.HeaderTimeout, IdleTimeout: c.HTTP.IdleTimeout, ErrorLog: s.http.ErrorLog}
	}
	return nil
}

// insideHandler serves the second address: metrics and profiles, and what probes ask, because here they are answered also when strangers have all connections of the first one.
func insideHandler(reg *prometheus.Registry, ready http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", serveLive)
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// paths divides the paths: the registry's go to the registry, untouched. (http.ServeMux would clean them and redirect.)
type paths struct {
	api    http.Handler
	harbor http.Handler // Harbor's REST API, and the logins of browsers
	ready  http.Handler
	clock  *Server
}

// ServeHTTP passes a request to whom its path belongs.
func (p *paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v2") || r.URL.Path == "/service/token" {
		p.api.ServeHTTP(w, r)
		return
	}
	if r.ContentLength != 0 {
		p.clock.hurry(w)
	}
	if strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, harborapi.Browser) || strings.HasPrefix(r.URL.Path, harborapi.Devcenter) {
		p.harbor.ServeHTTP(w, r)
		return
	}
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/healthz" && r.URL.Path != "/readyz":
		reply(w, http.StatusNotFound, "text/plain; charset=utf-8", []byte("There is nothing here. The registry is at /v2/.\n"))
	case !get:
		w.Header().Set("Allow", "GET, HEAD")
		reply(w, http.StatusMethodNotAllowed, "text/plain; charset=utf-8", []byte("Use GET.\n"))
	case r.URL.Path == "/healthz":
		serveLive(w, r)
	case r.URL.Path == "/readyz":
		p.ready.ServeHTTP(w, r)
	default:
		reply(w, http.StatusOK, "text/plain; charset=utf-8", []byte("This is Havn, an OCI registry. Use it with docker, podman, skopeo and the like.\n"))
	}
}

// hurry bounds how long a body may take that nobody here reads, or that is the short one of the REST API.
func (s *Server) hurry(w http.ResponseWriter) {
	if err := http.NewResponseController(w).SetReadDeadline(s.clock().Add(s.cfg.HTTP.HeaderTimeout)); err != nil {
		w.Header().Set("Connection", "close")
	}
}
