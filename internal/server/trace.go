package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/havn-registry/havn/internal/config"
)

// tracer makes a span of each request and sends it to a collector. It exists only if an endpoint is configured: without one, no request
// passes here.
type tracer struct {
	next     http.Handler
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	carry    propagation.TraceContext
}

// newTracer makes a tracer in front of a handler. Nothing is sent yet: a collector that is not there is no reason not to start.
func newTracer(ctx context.Context, c *config.Config, version string, log *slog.Logger, next http.Handler) (*tracer, error) {
	client, err := outbound(c)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint(c)), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("make a sender of traces: %w", err)
	}
	// OpenTelemetry has one place for errors in a process, which writes lines of a form of its own unless it is told where the log is.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(sendErr error) {
		log.Warn("traces are lost", "error", sendErr.Error(), "hint", "look at tracing.otlp_endpoint")
	}))
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter), // bounded: what the collector does not take in time is dropped
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Tracing.Sample))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "havn"), attribute.String("service.version", version))),
	)
	return &tracer{next: next, provider: provider, tracer: provider.Tracer("github.com/havn-registry/havn")}, nil
}

// endpoint answers the URL for traces: OTLP's usual path, if the key has none.
func endpoint(c *config.Config) string {
	u := *c.Tracing.OTLPEndpoint
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return u.String()
}

// ServeHTTP passes a request on inside a span.
func (t *tracer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := classify(r.URL.Path)
	ctx := t.carry.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, shortened(r.Method)+" "+kind.String(), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", shortened(r.Method)), attribute.String("url.path", shortened(r.URL.Path)), attribute.String("http.route", kind.String()),
		attribute.String("user_agent.original", shortened(r.UserAgent())), attribute.String("havn.request_id", w.Header().Get("X-Request-Id")),
	))
	defer func() {
		if seen, ok := w.(*witness); ok {
			span.SetAttributes(attribute.Int("http.response.status_code", seen.status), attribute.Int64("http.response.body.size", seen.sent))
			if seen.status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, http.StatusText(seen.status))
			}
		}
		span.End()
	}()
	t.next.ServeHTTP(w, r.WithContext(ctx))
}

// stop sends what is waiting.
func (t *tracer) stop(ctx context.Context) error { return t.provider.Shutdown(ctx) }
