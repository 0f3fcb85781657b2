package redis

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of operations.
const (
	resultOK      = "ok"
	resultAbsent  = "absent"
	resultTimeout = "timeout"
	resultError   = "error"
	resultAround  = "around"  // not asked: the circuit is open, or too much is under way
	resultDropped = "dropped" // a write for later that found no room
)

type metrics struct {
	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	trips      prometheus.Counter
	open       prometheus.Gauge
	known      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "havn_redis_operations_total", Help: "Operations on Redis by result; around: it was not asked, because it does not answer.",
		}, []string{"operation", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_redis_operation_seconds", Help: "How long callers waited for operations that were tried.", Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05},
		}, []string{"operation"}),
		trips: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_redis_circuit_trips_total", Help: "How often a part of Redis was given up until it answers again."}),
		open:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_redis_circuits_open", Help: "Parts of Redis that are gone around now."}),
		known: prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_redis_circuits", Help: "Parts of Redis; 0 while none was ever reached."}),
	}
	if reg != nil {
		reg.MustRegister(m.operations, m.seconds, m.trips, m.open, m.known)
	}
	return m
}

func (m *metrics) tried(operation, result string, took time.Duration) {
	m.operations.WithLabelValues(operation, result).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *metrics) untried(operation, result string) {
	m.operations.WithLabelValues(operation, result).Inc()
}
