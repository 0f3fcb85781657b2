package server

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// methodNames are the methods that are counted apart; the last stands for all others.
var methodNames = [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "other"}

func methodIndex(method string) int {
	for i, m := range methodNames {
		if m == method {
			return i
		}
	}
	return len(methodNames) - 1
}

// maxStatus bounds the table of counters by status.
const maxStatus = 600

// traffic counts requests. The way of one request takes no lock and makes no label.
type traffic struct {
	flight   atomic.Int64
	requests *prometheus.CounterVec
	seconds  [classes][len(methodNames)]prometheus.Observer
	counted  [classes][len(methodNames)]atomic.Pointer[[maxStatus]atomic.Pointer[prometheus.Counter]]
	received [classes]prometheus.Counter
	sent     [classes]prometheus.Counter
}

// newMetrics makes the registry of all metrics, with those of the runtime.
func newMetrics(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_build_info", Help: "1, with the version as label.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return reg
}

func newTraffic(reg prometheus.Registerer) *traffic {
	t := &traffic{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havn_http_requests_total", Help: "Requests answered, by kind of path, method and status.",
	}, []string{"route", "method", "code"})}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "havn_http_request_seconds", Help: "Time from the header of a request to the end of its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
	}, []string{"route", "method"})
	received := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_http_received_bytes_total", Help: "Bytes of request bodies."}, []string{"route"})
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_http_sent_bytes_total", Help: "Bytes of answers' bodies."}, []string{"route"})
	flight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "havn_http_requests_in_flight", Help: "Requests under way."}, func() float64 { return float64(t.flight.Load()) })
	for c := range classes {
		for m, name := range methodNames {
			t.seconds[c][m] = seconds.WithLabelValues(c.String(), name)
		}
		t.received[c], t.sent[c] = received.WithLabelValues(c.String()), sent.WithLabelValues(c.String())
	}
	reg.MustRegister(t.requests, seconds, received, sent, flight)
	return t
}

// count adds one answered request.
func (t *traffic) count(c class, method string, status int, received, sent int64, took time.Duration) {
	m := methodIndex(method)
	t.seconds[c][m].Observe(took.Seconds())
	t.counter(c, m, status).Inc()
	if received > 0 {
		t.received[c].Add(float64(received))
	}
	if sent > 0 {
		t.sent[c].Add(float64(sent))
	}
}

// counter answers the counter of a status, and keeps it once it was asked for.
func (t *traffic) counter(c class, m, status int) prometheus.Counter {
	if status < 0 || status >= maxStatus {
		return t.requests.WithLabelValues(c.String(), methodNames[m], "other")
	}
	table := t.counted[c][m].Load()
	if table == nil {
		t.counted[c][m].CompareAndSwap(nil, new([maxStatus]atomic.Pointer[prometheus.Counter]))
		table = t.counted[c][m].Load()
	}
	if known := table[status].Load(); known != nil {
		return *known
	}
	made := t.requests.WithLabelValues(c.String(), methodNames[m], strconv.Itoa(status))
	table[status].Store(&made)
	return made
}
