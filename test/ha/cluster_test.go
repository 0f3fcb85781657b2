package ha

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// atOnce tests run beside each other, of those that may: they wait for servers that do not answer. Those that measure gaps do not.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		log.Fatal(err)
	}
	os.Exit(harness.Main(m))
}

// patience bounds waits for what must come, on a loaded machine.
const patience = 3 * time.Minute

// need ends the test with what to do if something could not be had.
func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// database answers the settings of a node whose index is on these servers and whose blobs are in a shared directory.
func database(engine, name string, hosts []string, blobs string) []string {
	return []string{
		"HAVN_DATABASE_ENGINE=" + engine, "HAVN_DATABASE_HOSTS=" + strings.Join(hosts, ","),
		"HAVN_DATABASE_USER=" + lab.User, "HAVN_DATABASE_PASSWORD=" + lab.Password, "HAVN_DATABASE_NAME=" + name,
		"HAVN_STORAGE_FILESYSTEM_PATH=" + blobs, "HAVN_STORAGE_LOW_DISK=0",
	}
}

// nodes starts nodes of Havn; hosts answers what the i-th is told of the database.
func nodes(t *testing.T, n int, engine string, hosts func(i int) []string) []*harness.Server {
	t.Helper()
	blobs := filepath.Join(t.TempDir(), "blobs")
	var all []*harness.Server
	for i := range n {
		all = append(all, harness.Start(t, harness.Options{Env: database(engine, lab.Database, hosts(i), blobs)}))
	}
	return all
}

// The tests share the cluster: it takes half a minute to start on a loaded machine.
func TestGalera(t *testing.T) {
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	t.Cleanup(func() { need(t, g.Stop()) })
	t.Run("what one node acknowledges all serve at once, each written through another server", func(t *testing.T) {
		serveEachOther(t, nodes(t, 3, "mysql", g.Hosts))
	})
	t.Run("one address of the database is enough, also when that server is down at a restart", func(t *testing.T) { discover(t, g) })
	t.Run("a harbor.cfg serves, also when the addresses in it die", func(t *testing.T) { harborServes(t, g) })
	t.Run("db check finds the cluster sound", func(t *testing.T) { checkSound(t, g) })
	t.Run("status sees what fails", func(t *testing.T) { status(t, g) })
	t.Run("servers fail under load", func(t *testing.T) { failUnderLoad(t, g) })
}

func TestPostgreSQL(t *testing.T) {
	first, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, first.Stop()) })
	second, err := first.StartStandby(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, second.Stop()) })
	// A commit waits for the standby, so that its promotion loses nothing.
	need(t, first.Run(t.Context(), "ALTER SYSTEM SET synchronous_standby_names = '*'"))
	need(t, first.Run(t.Context(), "SELECT pg_reload_conf()"))
	all := nodes(t, 2, "postgres", func(int) []string { return []string{first.Host, second.Host} })
	t.Run("what one node acknowledges all serve at once", func(t *testing.T) { serveEachOther(t, all) })
	t.Run("the primary is killed, and the standby promoted", func(t *testing.T) {
		l := begin(t, nil, all)
		tagged := moveTags(t, all)
		tagged.more(t, 200)
		begun := time.Now()
		first.Kill()
		need(t, second.Promote(t.Context()))
		l.stalled(time.Since(begun))
		l.more(t, 20)
		tagged.more(t, 200)
		tagged.end(t)
		l.end(t, promotionAllowance)
	})
}

// serveEachOther pushes through one node and reads at once through all others; one tag is moved all the time, and one upload goes from node to node.
func serveEachOther(t *testing.T, all []*harness.Server) {
	t.Helper()
	var clients []*client
	for _, s := range all {
		clients = append(clients, newClient(s))
	}
	for round := range 12 {
		by := round % len(clients)
		m := newImage("ha/app", "latest")
		need(t, clients[by].push(t.Context(), m))
		for i, c := range clients {
			if err := c.check(t.Context(), m, m.tag, digestOf(m.manifest)); err != nil {
				t.Fatalf("pushed through node %d, read through node %d: %v", by, i, err)
			}
		}
	}
	for round := range 4 {
		data := []byte(strings.Repeat(fmt.Sprint("piece of ", round, "; "), 1000))
		at := func(i int) *client { return clients[(round+i)%len(clients)] }
		_, location, err := at(0).do(t.Context(), http.MethodPost, "/v2/ha/app/blobs/uploads/", "", nil, http.StatusAccepted)
		need(t, err)
		third := len(data) / 3
		for i := range 2 {
			_, location, err = at(1+i).do(t.Context(), http.MethodPatch, location, octets, data[i*third:(i+1)*third], http.StatusAccepted)
			need(t, err)
		}
		_, _, err = at(3).do(t.Context(), http.MethodPut, location+"?digest="+digestOf(data), octets, data[2*third:], http.StatusCreated)
		need(t, err)
		text, err := at(4).get(t.Context(), "/v2/ha/app/blobs/"+digestOf(data))
		if need(t, err); string(text) != string(data) {
			t.Errorf("an upload through all nodes is %d bytes, want %d", len(text), len(data))
		}
	}
}

// discover gives a node one address alone: it asks for the others, remembers them, and starts through them when the first is down.
func discover(t *testing.T, g *lab.Galera) {
	need(t, g.Nodes[0].CreateDatabase(t.Context(), "discover"))
	s := harness.Start(t, harness.Options{Env: database("mysql", "discover", g.Hosts(0)[:1], filepath.Join(t.TempDir(), "blobs"))})
	remembered := filepath.Join(s.Data, "database-hosts.json")
	s.Await(t, func() error {
		text, err := os.ReadFile(remembered)
		for _, host := range g.Hosts(0)[1:] {
			if err == nil && !strings.Contains(string(text), host) {
				err = fmt.Errorf("%s is not remembered: %s", host, text)
			}
		}
		return err
	})
	m := newImage("ha/found", "1")
	need(t, newClient(s).push(t.Context(), m))
	s.Finish(t)
	g.Nodes[0].Kill()
	defer func() { need(t, g.Nodes[0].Start(t.Context())) }()
	s.Again(t)
	need(t, newClient(s).check(t.Context(), m, m.tag))
}
