package redis

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// settings answers how Havn is told of a lab's Redis.
func settings(r *lab.Redis) []string {
	env := []string{
		"HAVN_REDIS_ADDRS=" + r.Addrs()[0], "HAVN_REDIS_USER=" + lab.User, "HAVN_REDIS_PASSWORD=" + lab.Password, "HAVN_METRICS_ADDR=127.0.0.1:0",
		"HAVN_REDIS_TIMEOUT=1s", // what is answered is tested here, on however busy a machine
	}
	if r.CAFile != "" {
		env = append(env, "HAVN_REDIS_TLS_CA_FILE="+r.CAFile)
	}
	return env
}

func TestServersShareGuesses(t *testing.T) {
	r := start(t, lab.RedisOptions{Mode: lab.RedisSingle, TLS: true}) // a cluster may lose a count when it fails over, as it does on a machine that is busy enough
	one, two := harness.Start(t, harness.Options{Env: settings(r)}), harness.Start(t, harness.Options{Env: settings(r)})
	for round := 1; ; round++ {
		for _, s := range []*harness.Server{one, two} {
			until(t, "Redis is seen", func() error { return shown(s, "ok", "redis single") })
		}
		status := guessAt(t, one, two)
		left := uncounted(t, one) + uncounted(t, two)
		if status == http.StatusTooManyRequests {
			break
		}
		if left == 0 || round == 5 {
			t.Fatalf("after 9 wrong guesses at two servers, the right one gets %d, want 429; Redis did not answer %d times", status, left)
		}
		t.Logf("round %d: Redis did not answer %d times, so that each server counts alone", round, left)
		for _, s := range []*harness.Server{one, two} { // which forgets what they counted
			s.Finish(t)
			s.Again(t)
		}
	}
	three := harness.Start(t, harness.Options{Env: append(settings(r), "HAVN_REDIS_PREFIX=havn:another:")})
	if status := login(t, three, harness.Password); status != http.StatusOK {
		t.Errorf("a registry with another prefix shares the count: %d", status)
	}
	for _, s := range []*harness.Server{one, two, three} {
		s.Finish(t)
	}
}

// guessAt makes 9 wrong guesses at two servers in turn, and answers what the second says to a right one. The waits double from a second on: the longest is certain on a
// busy machine. Each guess is made as soon as it is not slowed.
func guessAt(t *testing.T, one, two *harness.Server) int {
	t.Helper()
	for i := range 9 {
		s := []*harness.Server{one, two}[i%2]
		until(t, "a wrong password is refused", func() error {
			if status := login(t, s, "wrong"); status != http.StatusUnauthorized {
				return fmt.Errorf("status %d", status)
			}
			return nil
		})
	}
	return login(t, two, harness.Password)
}

func TestServersGoOnWithoutRedis(t *testing.T) {
	r := start(t, lab.RedisOptions{Mode: lab.RedisCluster, TLS: true})
	one := harness.Start(t, harness.Options{Env: settings(r)})
	until(t, "Redis is seen", func() error { return shown(one, "ok", "redis cluster") })
	doctor(t, settings(r), 0, "ok       redis", "a cluster: a write to the slowest part takes")
	for _, n := range r.Nodes {
		n.Kill()
	}
	until(t, "the loss is seen", func() error { return shown(one, "unavailable", "redis cluster") })
	begun := time.Now()
	if status := login(t, one, harness.Password); status != http.StatusOK {
		t.Errorf("without Redis a login gets %d", status)
	}
	t.Logf("a login without Redis: %s", time.Since(begun))
	doctor(t, settings(r), 1, "wrong    redis", "none of 1 addresses of Redis can be used")
	another := harness.Start(t, harness.Options{Env: settings(r)})
	if status := login(t, another, harness.Password); status != http.StatusOK {
		t.Errorf("a server that starts without Redis answers a login with %d", status)
	}
	for _, n := range r.Nodes {
		need(t, n.Start(t.Context()))
	}
	until(t, "Redis is used again", func() error { return shown(another, "ok", "redis cluster") })
	for _, s := range []*harness.Server{one, another} {
		s.Finish(t)
	}
}

func TestAStartAndDoctorSayWhatIsWrongWithRedis(t *testing.T) {
	r := start(t, lab.RedisOptions{Mode: lab.RedisSingle})
	expired, ca := outOfDate(t)
	for what, c := range map[string]struct{ env, text, hint string }{
		"it says nothing":             {"HAVN_REDIS_ADDRS=" + mute(t, nil), "no answer from Redis", "does the server hang"},
		"its certificate is too old":  {"HAVN_REDIS_ADDRS=" + expired + " HAVN_REDIS_TLS_CA_FILE=" + ca, "expired", "renew"},
		"a server given as a cluster": {"HAVN_REDIS_MODE=cluster", "is single, and redis.mode says cluster", "set redis.mode to auto"},
		"an unknown user":             {"HAVN_REDIS_USER=nobody", "WRONGPASS", "look at redis.user and redis.password"},
		"a prefix that is not his":    {"HAVN_REDIS_PREFIX=foreign:", "NOPERM", "grant the user what docs/operations.md says"},
		"a name that nobody knows":    {"HAVN_REDIS_ADDRS=redis.invalid:6379", "redis.invalid", "at the DNS of this machine"},
	} {
		t.Run(what, func(t *testing.T) {
			env := append(settings(r), strings.Fields(c.env)...)
			s := harness.Start(t, harness.Options{Env: env})
			until(t, "the log says it", func() error {
				for line := range strings.Lines(s.Log()) {
					if strings.Contains(line, "level=WARN") && strings.Contains(line, c.text) && strings.Contains(line, c.hint) {
						return nil
					}
				}
				return fmt.Errorf("no %q and %q", c.text, c.hint)
			})
			if status := login(t, s, harness.Password); status != http.StatusOK {
				t.Errorf("a login gets %d", status)
			}
			s.Finish(t)
			doctor(t, env, 1, "wrong    redis", c.text)
		})
	}
}

// TestHalfOfRedisAddressesMayBeWrong serves with the other half, and doctor tells.
func TestHalfOfRedisAddressesMayBeWrong(t *testing.T) {
	r := start(t, lab.RedisOptions{Mode: lab.RedisSingle})
	env := append(settings(r), "HAVN_REDIS_ADDRS=127.0.0.1:1,"+r.Addrs()[0])
	s := harness.Start(t, harness.Options{Env: env})
	until(t, "Redis is seen", func() error { return shown(s, "ok", "redis single") })
	if status := login(t, s, harness.Password); status != http.StatusOK {
		t.Errorf("a login gets %d", status)
	}
	s.Finish(t)
	doctor(t, env, 0, "warning  redis", "127.0.0.1:1")
	doctor(t, env, 0, "ok       redis", "a write")
}

// mute answers the address of a server that takes connections and says nothing, or shows a certificate and says nothing more.
func mute(t *testing.T, conf *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	t.Cleanup(func() { need(t, l.Close()) })
	if conf == nil {
		return l.Addr().String()
	}
	go func() {
		for {
			conn, acceptErr := tls.NewListener(l, conf).Accept()
			if acceptErr != nil {
				return
			}
			go func() {
				if _, readErr := conn.Read(make([]byte, 1)); readErr == nil {
					t.Error("a certificate that is out of date was taken")
				}
				if closeErr := conn.Close(); closeErr != nil {
					t.Log(closeErr)
				}
			}()
		}
	}()
	return l.Addr().String()
}

// outOfDate answers the address of a server whose certificate ended yesterday, and the file of its authority.
func outOfDate(t *testing.T) (address, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	need(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	need(t, err)
	ca = filepath.Join(t.TempDir(), "ca.crt")
	need(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return mute(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}), ca
}

// get asks a server, and answers status and body.
func get(t *testing.T, client *http.Client, url string, user, password string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	need(t, err)
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := client.Do(req)
	need(t, err)
	body, err := io.ReadAll(res.Body)
	need(t, err)
	need(t, res.Body.Close())
	return res.StatusCode, string(body)
}

func login(t *testing.T, s *harness.Server, password string) int {
	t.Helper()
	client := s.HTTP()
	defer client.CloseIdleConnections()
	status, _ := get(t, client, s.URL+"/service/token?service=harbor-registry", harness.User, password)
	return status
}

// shown asks for what /readyz says of Redis. It is ready whatever that is.
func shown(s *harness.Server, status, kind string) error {
	client := s.HTTP()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	var body struct {
		Status string
		Stores map[string]struct{ Status, Kind string }
	}
	err = json.NewDecoder(res.Body).Decode(&body)
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && (res.StatusCode != http.StatusOK || body.Stores["redis"].Status != status || body.Stores["redis"].Kind != kind) {
		err = fmt.Errorf("%s: %+v, want it ready and Redis %s, %s", res.Status, body, status, kind)
	}
	return err
}

// doctor runs havn doctor on a fresh data directory, and looks for words on one of its lines.
func doctor(t *testing.T, env []string, code int, words ...string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), "doctor")
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir, "HAVN_DATA_DIR=" + dir + "/data", "HAVN_HTTP_ADDR=127.0.0.1:0"}, env...)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("doctor ends with %d (%v), want %d:\n%s", got, err, code, out)
	}
	for line := range strings.Lines(string(out)) {
		has := 0
		for _, w := range words {
			if strings.Contains(line, w) {
				has++
			}
		}
		if has == len(words) {
			return
		}
	}
	t.Errorf("doctor says no %q:\n%s", words, out)
}

// uncounted answers how many guesses of a server Redis did not count.
func uncounted(t *testing.T, s *harness.Server) int {
	t.Helper()
	at := regexp.MustCompile(`metrics listening"? addr=(\S+)`).FindAllStringSubmatch(s.Log(), -1)
	if at == nil {
		t.Fatalf("no address of metrics in the log:\n%s", s.Log())
	}
	_, body := get(t, http.DefaultClient, "http://"+at[len(at)-1][1]+"/metrics", "", "")
	if !strings.Contains(body, `havn_redis_operations_total{operation="guess.begin",result="ok"}`) {
		t.Errorf("operations on Redis are not counted:\n%s", body)
	}
	sum := 0
	for _, m := range regexp.MustCompile(`(?m)^havn_redis_operations_total\{operation="guess[^"]*",result="(?:timeout|error|around)"\} (\d+)$`).FindAllStringSubmatch(body, -1) {
		n, err := strconv.Atoi(m[1])
		need(t, err)
		sum += n
	}
	return sum
}
