package engines

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// pushers is how many push to one project at once; images is how many each of them pushes in a round.
const pushers, images, quotaRounds = 32, 2, 3

// clientTries is how often a client pushes an image that a busy cluster could not take.
const clientTries = 5

// What 32 clients that push to one project, through three nodes, lose by its quota is logged; that nothing is lost of what they push, and every byte is counted, is checked. "One by one" is a quota of which nothing is
// taken in advance: each push changes its row.
func TestPushersWithAQuota(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "havn.db")
		manyPushers(t, 1, func(int) sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} })
	})
	t.Run("Galera", func(t *testing.T) {
		g, err := lab.StartGalera(t.Context(), "", 3)
		need(t, err)
		stopAfter(t, g.Stop)
		manyPushers(t, 3, func(i int) sqldb.Config {
			return sqldb.Config{Engine: sqldb.MySQL, Hosts: g.Hosts(i), User: lab.User, Password: lab.Password, Database: lab.Database}
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		p, err := lab.StartPostgres(t.Context(), "")
		need(t, err)
		stopAfter(t, p.Stop)
		manyPushers(t, 3, func(int) sqldb.Config {
			return sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}
		})
	})
}

// manner is a way in which a project is limited.
type manner struct {
	name  string
	slice int64 // of registry.Config
	limit int64
}

func manyPushers(t *testing.T, nodes int, open func(i int) sqldb.Config) {
	manners := []manner{{"without", 0, registry.Unlimited}, {"slices", 0, 1 << 40}, {"one by one", -1, 1 << 40}}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	driver := memory.New(time.Now)
	var db *sqldb.DB
	sites := map[string][]*registry.Registry{}
	for i := range nodes {
		db = sqldbtest.Open(t, open(i))
		for _, m := range manners {
			r, err := registry.New(t.Context(), registry.Config{DB: db, Blobs: blob.NewStore(driver, blob.StoreConfig{Clock: time.Now}), QuotaSlice: m.slice, NodeID: int64(i + 1)})
			need(t, err)
			sites[m.name] = append(sites[m.name], r)
			running.Go(func() {
				if runErr := r.Run(ctx); runErr != nil {
					t.Error(runErr)
				}
			})
		}
	}
	projects := map[string]int64{}
	for i, m := range manners {
		name := fmt.Sprint("p", i)
		need(t, sites[m.name][0].EnsureProject(ctx, registry.Project{Name: name}))
		p, err := index.FindProject(ctx, db, name)
		need(t, err)
		need(t, sites[m.name][0].SetQuota(ctx, p.ID, m.limit))
		projects[m.name] = p.ID
	}
	took := map[string]time.Duration{}
	for round := range quotaRounds {
		for i, m := range manners {
			began := time.Now()
			var all sync.WaitGroup
			for who := range pushers {
				all.Go(func() {
					for k := range images {
						err := pushImage(ctx, sites[m.name][who%nodes], fmt.Sprintf("p%d/r%d", i, who), fmt.Sprint(m.name, round, who, k))
						for tries := 1; fail.Is(err, fail.Unavailable) && tries < clientTries; tries++ { // 503 with Retry-After: a client tries again
							err = pushImage(ctx, sites[m.name][who%nodes], fmt.Sprintf("p%d/r%d", i, who), fmt.Sprint(m.name, round, who, k))
						}
						if err != nil {
							t.Errorf("%s: %v", m.name, err)
						}
					}
				})
			}
			all.Wait()
			took[m.name] += time.Since(began)
		}
	}
	stop()
	running.Wait()
	for _, m := range manners {
		t.Logf("%s: %.0f images a second, %.2f of those without a quota", m.name, float64(pushers*images*quotaRounds)/took[m.name].Seconds(), float64(took["without"])/float64(took[m.name]))
		u, err := index.FindUsage(t.Context(), db, projects[m.name])
		need(t, err)
		if m.limit > 0 && (u.Used == 0 || u.Held != u.Used) {
			t.Errorf("%s: all is given back, and %+v", m.name, u)
		}
	}
	registrytest.CheckInvariants(t, db, blob.NewStore(driver, blob.StoreConfig{Clock: time.Now}))
}

// pushImage pushes an image of three blobs that nobody else has.
func pushImage(ctx context.Context, r *registry.Registry, repo, symbol string) error {
	name, err := oci.ParseName(repo)
	if err != nil {
		return err
	}
	parts := [][]byte{registrytest.Content(symbol+" config", 500), registrytest.Content(symbol+" first", 20_000), registrytest.Content(symbol+" second", 50_000)}
	for _, data := range parts {
		if _, err = r.PushBlob(ctx, name, registry.PushBlob{Digest: oci.Sum(oci.SHA256, data), Size: int64(len(data)), Body: bytes.NewReader(data)}); err != nil {
			return err
		}
	}
	_, err = r.PutManifest(ctx, name, registry.PutManifest{MediaType: oci.MediaTypeImageManifest, Body: registrytest.Image(symbol, nil, "", parts...), Tags: []oci.Tag{registrytest.Tag("latest")}})
	return err
}
