package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	workloads, peers, output, dir string
	store                         store
	address, credentials, ca      string
	rounds                        int
	time                          time.Duration
}

// result is one workload at one peer.
type result struct {
	Workload string    `json:"workload"`
	Peer     string    `json:"peer"`
	Rates    []float64 `json:"operations_per_second"`
	CPU      []float64 `json:"cpu_seconds_per_operation"`
	Peak     int64     `json:"peak_bytes"`
}

func main() {
	var o options
	flag.StringVar(&o.workloads, "workloads", "all", "comma-separated names, a name's beginning with *, or all")
	flag.StringVar((*string)(&o.store), "store", string(inDirectory), "what Havn keeps its data in, with workloads of its own for all but directory: s3, swift, rados (a small Ceph is started, where the others have S3 buckets), s3-cached (with a read cache) or cluster (three nodes on three of Galera)")
	flag.StringVar(&o.peers, "peers", "", "comma-separated servers, havn among them (default: all that are measured beside the store)")
	flag.IntVar(&o.rounds, "rounds", 9, "rounds per workload")
	flag.DurationVar(&o.time, "time", time.Second/2, "length of a round of reads")
	flag.StringVar(&o.output, "output", "table", "table or json")
	flag.StringVar(&o.dir, "dir", "", "where the servers keep their data (default: a temporary directory)")
	flag.StringVar(&o.address, "address", "", "measure the registry that runs at http://HOST:PORT or https://HOST:PORT instead of starting any")
	flag.StringVar(&o.credentials, "credentials", "", "NAME:PASSWORD for -address")
	flag.StringVar(&o.ca, "ca", "", "file of the certificate authority of -address")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "Measures Havn beside other registries and nginx.\n\nExample: go run . -workloads 'blob-push*' -peers havn,olareg -rounds 5\n         go run . -store s3 -workloads '*' -rounds 3\n         go run . -workloads 'manifest*' -address https://registry.example.com -credentials me:secret\n\nWorkloads:\n")
		for _, kind := range stores {
			fmt.Fprintf(os.Stderr, "  -store %s:\n", kind)
			for _, w := range workloads(kind) {
				fmt.Fprintf(os.Stderr, "    %s\n", w.name)
			}
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	chosen, err := peersNamed(o.peers, o.store)
	if err != nil {
		return err
	}
	if o.address != "" {
		p, cause := elsewhere(o.address, o.credentials, o.ca)
		if cause != nil {
			return cause
		}
		chosen = []peer{p}
	}
	work := slices.DeleteFunc(workloads(o.store), func(w workload) bool { return !matches(o.workloads, w.name) })
	if len(work) == 0 || o.rounds < 1 {
		return fmt.Errorf("nothing to do: workloads %q, rounds %d; see -h", o.workloads, o.rounds)
	}
	programs, err := build(ctx, chosen, o.store)
	if err != nil {
		return err
	}
	var all []result
	for _, w := range work {
		results, cause := measure(ctx, o, programs, w, chosen)
		if cause != nil {
			return fmt.Errorf("%s: %w", w.name, cause)
		}
		all = append(all, results...)
	}
	if o.output == "json" {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	_, err = os.Stdout.WriteString(table(work, all))
	return err
}

func matches(patterns, name string) bool {
	return slices.ContainsFunc(strings.Split(patterns, ","), func(p string) bool {
		begin, wild := strings.CutSuffix(p, "*")
		return p == "all" || p == name || (wild && strings.HasPrefix(name, begin))
	})
}

// measure starts every peer afresh, prepares the workload, runs one round that does not count, and then alternates.
func measure(ctx context.Context, o options, programs *binaries, w workload, chosen []peer) ([]result, error) {
	dir, err := os.MkdirTemp(o.dir, "havn-bench-")
	if err != nil {
		return nil, err
	}
	if err = os.Chmod(dir, 0o755); err != nil { // databases run as users of their own
		return nil, err
	}
	defer func() {
		if cause := os.RemoveAll(dir); cause != nil {
			fmt.Fprintln(os.Stderr, "bench:", cause)
		}
	}()
	running := &services{}
	if o.address == "" {
		if running, err = startServices(ctx, o.store, dir); err != nil {
			return nil, err
		}
		defer running.stop()
	}
	var sites []*site
	var ops []operation
	for _, p := range chosen {
		if !w.measures(p, o.store) {
			continue
		}
		s, cause := open(ctx, programs, p, running, o.store, filepath.Join(dir, p.name), o.rounds)
		if cause != nil {
			return nil, cause
		}
		defer s.proc.stop()
		op, cause := w.prepare(s)
		if cause != nil {
			return nil, fmt.Errorf("prepare %s: %w", p.name, cause)
		}
		sites, ops = append(sites, s), append(ops, op)
	}
	results := make([]result, len(sites))
	for round := range o.rounds + 1 {
		fmt.Fprintf(os.Stderr, "\r%-24s round %d of %d ", w.name, round, o.rounds)
		for k := range sites {
			i := (k + round) % len(sites) // nobody is always first
			s := sites[i]
			before := s.proc.cpu()
			count, took, cause := burst(s, ops[i], w.clients, round*w.perRound, w.perRound, o.time)
			if cause != nil {
				return nil, fmt.Errorf("%s: %w", s.peer.name, cause)
			}
			if cause = ctx.Err(); cause != nil {
				return nil, cause
			}
			results[i].Workload, results[i].Peer, results[i].Peak = w.name, s.peer.name, s.proc.peak()
			if round > 0 {
				results[i].Rates = append(results[i].Rates, float64(count)/took.Seconds())
				results[i].CPU = append(results[i].CPU, (s.proc.cpu()-before)/float64(count))
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return results, nil
}

func open(ctx context.Context, programs *binaries, p peer, running *services, kind store, dir string, rounds int) (*site, error) {
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	seed, distinct := fnv.New64(), p.name
	if p.addr != "" { // it keeps what an earlier run pushed, and a push of what is there is another workload
		distinct += time.Now().String()
	}
	if _, err = seed.Write([]byte(distinct)); err != nil {
		return nil, err
	}
	s := &site{
		peer: p, dir: dir, addrs: []string{p.addr}, rounds: rounds, source: rand.New(rand.NewPCG(seed.Sum64(), uint64(rounds))), services: running, store: kind,
	}
	switch {
	case p.bare && running.ceph != nil:
		s.addrs[0] = running.ceph.GatewayHost
	case p.addr == "":
		s.addrs[0] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	if err = running.create(ctx, p); err != nil {
		return nil, err
	}
	if s.proc, err = p.start(ctx, s, programs, port); err != nil {
		return nil, err
	}
	if p.login != nil {
		if s.auth, err = p.login(s.addrs[0], repo); err != nil {
			s.proc.stop()
			return nil, fmt.Errorf("log in to %s: %w", p.name, err)
		}
	}
	return s, nil
}

// burst runs an operation with several clients at once: count of them, numbered from first, or as many as fit into the time if count is 0.
func burst(s *site, op operation, clients, first, count int, limit time.Duration) (int, time.Duration, error) {
	var next, done atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	begin := time.Now()
	for i := range clients {
		all.Go(func() {
			c := newClient(s.addrs[i%len(s.addrs)], s.peer.tls, s.auth)
			defer c.close()
			for failed.Load() == nil && (count > 0 || time.Since(begin) < limit) {
				n := int(next.Add(1)) - 1
				if count > 0 && n >= count {
					return
				}
				if err := op(c, first+n); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	if err := failed.Load(); err != nil {
		return 0, took, *err
	}
	return int(done.Load()), took, nil
}

// table answers a row per workload and peer, with Havn's ratio to that peer.
func table(work []workload, all []result) string {
	var out strings.Builder
	out.WriteString("| work | server | median | Havn's ratio, 95 % interval | CPU ms per operation | peak MiB | target |\n|---|---|---|---|---|---|---|\n")
	for _, w := range work {
		var ours result
		for _, r := range all {
			if r.Workload == w.name && r.Peer == "havn" {
				ours = r
			}
		}
		for _, r := range all {
			if r.Workload == w.name {
				out.WriteString(row(w, r, ours))
			}
		}
	}
	return out.String()
}

func row(w workload, r, ours result) string {
	ratio, target := "", ""
	if r.Peer == "havn" {
		target = w.target
	} else if len(ours.Rates) == len(r.Rates) {
		pairs := make([]float64, len(r.Rates))
		for i := range pairs {
			pairs[i] = ours.Rates[i] / r.Rates[i]
		}
		mid, low, high := interval(pairs)
		ratio = fmt.Sprintf("%.2f [%.2f, %.2f]", mid, low, high)
	}
	cpu, peak := "–", "–"
	if r.Peak > 0 {
		cpu, peak = fmt.Sprintf("%.3f", 1000*median(r.CPU)), fmt.Sprintf("%.1f", float64(r.Peak)/mib)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", w.name, r.Peer, rate(w, median(r.Rates)), ratio, cpu, peak, target)
}

func rate(w workload, perSecond float64) string {
	switch {
	case w.bytes > mib:
		return fmt.Sprintf("%.0f MB/s", perSecond*float64(w.bytes)/1e6)
	case w.clients == 1 && w.alone:
		return fmt.Sprintf("%.2f ms", 1000/perSecond)
	default:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
}
