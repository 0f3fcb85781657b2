package sqldb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
)

// metrics counts what the database does. All methods work without a registry too.
type metrics struct {
	txs     *prometheus.HistogramVec
	views   *prometheus.HistogramVec
	reads   *prometheus.HistogramVec
	read    prometheus.Observer // of reads, those that went well: they are on the way of every pull
	retries *prometheus.CounterVec
	commits *prometheus.CounterVec
	batch   prometheus.Histogram
	log     prometheus.Gauge
	hosts   *prometheus.GaugeVec
	moves   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	seconds := []float64{.0002, .001, .003, .01, .03, .1, .3, 1, 3, 10}
	m := &metrics{
		txs: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_db_transaction_seconds", Help: "Write transactions by name and outcome, with their retries.", Buckets: seconds,
		}, []string{"tx", "outcome"}),
		views: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_db_view_seconds", Help: "Read-only transactions by name and outcome.", Buckets: seconds,
		}, []string{"view", "outcome"}),
		reads: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_db_read_seconds", Help: "Queries outside transactions by outcome, with their retries, until the last row was taken.", Buckets: seconds,
		}, []string{"outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "havn_db_retries_total", Help: "Transactions and reads that were run again, by reason.",
		}, []string{"reason"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "havn_db_commits_total", Help: "Commits, by whether they waited for the disk.",
		}, []string{"flushed"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "havn_db_commit_functions", Help: "Transactions that shared one commit (SQLite).", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128},
		}),
		log: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "havn_db_wal_bytes", Help: "Bytes in SQLite's write-ahead log that are in use.",
		}),
		hosts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "havn_db_server_condition", Help: "Servers of the database: 4 fit, 3 strained, 2 unfit, 1 down.",
		}, []string{"server"}),
		moves: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "havn_db_moves_total", Help: "How often this node began to write through another server of the database.",
		}),
	}
	m.read = m.reads.WithLabelValues(outcome(nil))
	if reg != nil {
		reg.MustRegister(m.txs, m.views, m.reads, m.retries, m.commits, m.batch, m.log, m.hosts, m.moves)
	}
	return m
}

func (m *metrics) tx(name string, took time.Duration, err error) {
	m.txs.WithLabelValues(name, outcome(err)).Observe(took.Seconds())
}

func (m *metrics) view(name string, took time.Duration, err error) {
	m.views.WithLabelValues(name, outcome(err)).Observe(took.Seconds())
}

// queried counts a query. That there is no such row is an answer like any other.
func (m *metrics) queried(took time.Duration, err error) {
	if err == nil || fail.Is(err, fail.NotFound) {
		m.read.Observe(took.Seconds())
		return
	}
	m.reads.WithLabelValues(outcome(err)).Observe(took.Seconds())
}

func (m *metrics) retried(reason string) { m.retries.WithLabelValues(reason).Inc() }

func (m *metrics) committed(functions int, flushed bool) {
	label := "no"
	if flushed {
		label = "yes"
	}
	m.commits.WithLabelValues(label).Inc()
	m.batch.Observe(float64(functions))
}

func (m *metrics) server(addr string, c condition) { m.hosts.WithLabelValues(addr).Set(float64(c)) }

func (m *metrics) dropped(addr string) { m.hosts.DeleteLabelValues(addr) }

func (m *metrics) moved() { m.moves.Inc() }

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return fail.KindOf(err).String()
}
