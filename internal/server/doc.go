// Package server is the only place that builds things: from the configuration to stores, from stores to services, from services to
// listeners. It starts them, watches over them, and stops them in the opposite order.
//
// A request passes, from outside: the observer (request id, access log, metrics, traces), then the registry API, or /healthz and /readyz.
// Nothing here knows what a manifest is.
package server
