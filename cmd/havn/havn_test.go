package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/quicktest"
)

// patience is how long a test waits for what should take a moment.
const patience = 60 * time.Second

// asProgram makes the test binary be havn: for tests that need a process.
const asProgram = "BE_HAVN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(quicktest.Main(m, 4))
}

// execute runs a command line in this process.
func execute(t *testing.T, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	return executeOn(t, "", environ, args...)
}

// executeOn is execute with something on standard input.
func executeOn(t *testing.T, typed string, environ []string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	p := &program{args: args, environ: environ, in: strings.NewReader(typed), out: &o, err: &e}
	return p.run(), o.String(), e.String()
}

func TestBadInputToEveryCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("http:\n  adr: x\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	noCertificate := []string{"HAVN_DATA_DIR=" + dir + "/data", "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_HTTP_TLS_CERTIFICATE=/nowhere/a.crt", "HAVN_HTTP_TLS_KEY=/nowhere/a.key"}
	for name, c := range map[string]struct {
		env  []string
		args string
		want string // of standard error, or of the output if it begins with out:
		code int
	}{
		"no such command":        {nil, "srve", `havn has no command "srve"` + "\n      did you mean havn serve?", 2},
		"no such command at all": {nil, "xyzzy", "see havn --help", 2},
		"no such flag":           {nil, "serve --prot 5", "havn: havn serve: unknown flag: --prot\n      see havn serve --help", 2},
		"flag without value":     {nil, "serve --data-dir", "flag needs an argument", 2},
		"serve with an argument": {nil, "serve extra", `havn serve takes no arguments, and got "extra"`, 2},
		"serve with an address":  {nil, "serve --http-addr 5000", `flag --http-addr: http.addr: "5000" has no host: write 127.0.0.1:5000`, 2},
		"serve without its file": {nil, "serve --config /nowhere/havn.yaml", "/nowhere/havn.yaml: no such file or directory", 2},
		"serve with a bad file":  {nil, "serve --config " + bad, bad + ":2: http.adr: is an unknown key; did you mean http.addr?", 2},
		"serve, no certificate":  {noCertificate, "serve", `"/nowhere/a.crt": no such file or directory`, 2},
		"check, no certificate":  {noCertificate, "config check", `"/nowhere/a.crt": no such file or directory`, 2},
		"doctor, no certificate": {noCertificate, "doctor", `out:"/nowhere/a.crt": no such file or directory`, 2},
		"check a bad file":       {[]string{"HAVN_CONFIG=" + bad}, "config check", bad + `:4: log.level: "loud" is not one of them; allowed: debug, info, warn or error`, 2},
		"check with an argument": {nil, "config check " + bad, "havn config check takes no arguments", 2},
		"print with a bad value": {[]string{"HAVN_LOG_ACCESS=maybe"}, "config print", `environment HAVN_LOG_ACCESS: log.access: "maybe" is neither true nor false`, 2},
		"print in what form":     {nil, "config print --output xml", `--output "xml"`, 2},
		"reference with more":    {nil, "config reference all", "havn config reference takes no arguments", 2},
		"import nothing":         {nil, "config import", "takes the path of one harbor.cfg", 2},
		"import nowhere":         {nil, "config import /nowhere/harbor.cfg", "/nowhere/harbor.cfg: no such file or directory", 2},
		"import YAML":            {nil, "config import " + bad, bad + ": holds not one key of Harbor's; allowed: the harbor.cfg of Harbor 1.5", 2},
		"serve on no harbor.cfg": {nil, "serve --harbor-cfg " + bad, bad + ": holds not one key of Harbor's", 2},
		"check no harbor.cfg":    {[]string{"HAVN_HARBOR_CFG=/nowhere/harbor.cfg"}, "config check", "/nowhere/harbor.cfg: no such file", 2},
		"no such config command": {nil, "config chek", "did you mean havn config check?", 2},
		"version in what form":   {nil, "version --output yaml", "use text or json", 2},
		"version of what":        {nil, "version 2", "havn version takes no arguments", 2},
		"doctor of what":         {nil, "doctor who", "havn doctor takes no arguments", 2},
		"doctor in what form":    {nil, "doctor --output xml", "use text or json", 2},
		"doctor with a bad file": {nil, "doctor --config " + bad, "out:http.adr: is an unknown key", 2},
		"rotate what":            {nil, "key rotate all", "havn key rotate takes no arguments", 2},
		"rotate nothing":         {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "key rotate", "rotate the key: there is no database yet\n      the first start makes it", 1},
		"reset what":             {nil, "admin reset-password admin", "havn admin reset-password takes no arguments", 2},
		"reset nothing":          {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "admin reset-password", "reset the password: there is no database yet\n      the first start makes it", 1},
		"reset to nothing":       {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "admin reset-password --stdin", "standard input has no password", 1},
		"check which store":      {nil, "store check all", "havn store check takes no arguments", 2},
		"check no store":         {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "store check", "is it mounted? Look at storage.filesystem.path", 1},
		"confirm no store":       {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "store confirm", "confirm the blob store: there is no database yet", 1},
		"check a store of air":   {[]string{"HAVN_STORAGE_DRIVER=memory"}, "store check", "there is nothing to check", 1},
		"bucket without a name":  {[]string{"HAVN_STORAGE_DRIVER=s3"}, "store check", "storage.s3.bucket: is not set, and storage.driver is s3", 2},
		"status of what":         {nil, "status all", "havn status takes no arguments", 2},
		"status, no certificate": {noCertificate, "status", `"/nowhere/a.crt": no such file or directory`, 2},
		"status of nothing":      {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "status", "out:no process serves " + dir + "/data", 2},
		"nodes of nothing":       {[]string{"HAVN_DATA_DIR=" + dir + "/data"}, "node list", "no process serves " + dir + "/data\n      start it", 1},
		"forget nothing":         {nil, "node forget", "takes one incarnation, and got 0", 2},
		"forget what":            {nil, "node forget x", `"x" is no incarnation`, 2},
		"forget on SQLite":       {nil, "node forget 7", "on SQLite there is one node", 1},
		"no such verb of a lab":  {nil, "lab ups", "did you mean havn lab up?", 2},
		"a lab on what":          {nil, "lab up --dir " + dir + "/lab --database oracle", `no database "oracle" is known` + "\n      use galera or postgres", 2},
		"a lab of what":          {nil, "lab up all", "havn lab up takes no arguments", 2},
		"status of no lab":       {nil, "lab status --dir " + dir + "/lab", "no lab runs in " + dir + "/lab\n      `havn lab up --dir " + dir + "/lab` starts one", 2},
		"a lab in what form":     {nil, "lab status --output xml", "use text or json", 2},
		"kill nothing":           {nil, "lab kill", "takes the names of parts, and got none", 2},
		"kill for no time":       {nil, "lab kill havn-1 --hang 0s", "give a time, like 20s", 2},
		"kill in no lab":         {nil, "lab kill havn-1 --dir " + dir + "/lab", "no lab runs in " + dir + "/lab\n      `havn lab up --dir " + dir + "/lab` starts one", 1},
		"end no lab":             {nil, "lab down --dir " + dir + "/lab", "out:There is no lab in " + dir + "/lab.", 0},
		"completion of nothing":  {nil, "completion", "takes the name of one shell", 2},
		"completion of tcsh":     {nil, "completion tcsh", `no shell "tcsh" is known`, 2},
		"data dir of another":    {[]string{"HAVN_HTTP_ADDR=127.0.0.1:0"}, "serve --data-dir /dev/null/data", "a file is in the way", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errOut := execute(t, c.env, strings.Fields(c.args)...)
			got := errOut
			if want, ok := strings.CutPrefix(c.want, "out:"); ok {
				got, c.want = out, want
			}
			if code != c.code || !strings.Contains(got, c.want) {
				t.Errorf("exit code %d, want %d\n%s%s\nwant %q", code, c.code, out, errOut, c.want)
			}
		})
	}
	if _, err := os.Stat(dir + "/data"); err == nil {
		t.Error("a data directory is left behind")
	}
}

func TestEveryCommandExplainsItselfWithAnExampleAndItsExitCodes(t *testing.T) {
	t.Parallel()
	for _, cmd := range every(new(program).root()) {
		line := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "havn"), " ")
		code, out, errOut := execute(t, nil, append(strings.Fields(line), "--help")...)
		if code != 0 || errOut != "" || !strings.Contains(out, "Examples:\n  ") || !strings.Contains(out, "Exit codes:\n") {
			t.Errorf("havn %s --help: %d\n%s%s", line, code, out, errOut)
		}
	}
	for _, line := range []string{"", "admin", "config", "key", "node", "store"} {
		if code, out, _ := execute(t, nil, strings.Fields(line)...); code != 0 || !strings.Contains(out, "Available Commands:") {
			t.Errorf("havn %s: %d\n%s", line, code, out)
		}
	}
}

func TestResultsInBothForms(t *testing.T) {
	t.Parallel()
	env := []string{"HAVN_ADMIN_PASSWORD=hush", "HAVN_HTTP_ADR=x", "HAVN_DATA_DIR=" + t.TempDir() + "/data", "HAVN_HTTP_ADDR=127.0.0.1:0"}
	for line, want := range map[string]string{
		"version": "havn ", "config print": "HAVN_ADMIN_PASSWORD", "config check": "The configuration is good.\n", "doctor": "HAVN_HTTP_ADR", "completion bash": "__start_havn",
		"completion zsh": "#compdef havn", "completion fish": "complete -c havn", "completion powershell": "Register-ArgumentCompleter", "config reference": "## `http.addr`",
	} {
		code, out, _ := execute(t, env, strings.Fields(line)...)
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "hush") {
			t.Errorf("havn %s: %d\n%s", line, code, out)
		}
	}
	for _, line := range []string{"version", "config print", "config check", "doctor"} {
		code, out, _ := execute(t, env, append(strings.Fields(line), "--output", "json")...)
		var v any
		if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || strings.Contains(out, "hush") {
			t.Errorf("havn %s: %d, %v\n%s", line, code, err, out)
		}
	}
	if _, _, errOut := execute(t, env, "config", "check"); !strings.Contains(errOut, "did you mean HAVN_HTTP_ADDR?") {
		t.Errorf("no warning: %s", errOut)
	}
}

func TestOneKeyIsOneLineWhateverItsValue(t *testing.T) {
	t.Parallel()
	code, out, _ := execute(t, []string{"HAVN_SETTINGS_BANNER_MESSAGE=one\ntwo"}, "config", "print")
	if code != 0 || !strings.Contains(out, `"one\ntwo"`) || strings.Contains(out, "\ntwo") {
		t.Errorf("%d\n%s", code, out)
	}
}

// child is havn as a process.
type child struct {
	cmd *exec.Cmd
	log *logged
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func spawn(t *testing.T, env ...string) *child {
	t.Helper()
	return spawnWith(t, nil, env...)
}

// spawnWith is spawn with more arguments.
func spawnWith(t *testing.T, args []string, env ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(self, append([]string{"serve"}, args...)...), log: &logged{}}
	c.cmd.Env = append([]string{asProgram + "=1", "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "HAVN_ADMIN_PASSWORD=correct-horse-7"}, env...)
	c.cmd.Stderr = c.log
	if err = c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			if killErr := c.cmd.Process.Kill(); killErr != nil {
				t.Error(killErr)
			}
			if waitErr := c.cmd.Wait(); waitErr == nil {
				t.Error("a killed process ended well")
			}
		}
	})
	c.await(t, "msg=ready")
	return c
}

func (c *child) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(c.log.String(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in the log:\n%s", want, c.log)
		}
	}
}

// end waits for the end and answers the exit code.
func (c *child) end(t *testing.T) int {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil && c.cmd.ProcessState == nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("the process does not end:\n%s", c.log)
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestTheKeyOfTokensIsRotatedWhileHavnServesAndBetweenTwoStarts(t *testing.T) {
	t.Parallel()
	data := "HAVN_DATA_DIR=" + filepath.Join(t.TempDir(), "data")
	c := spawn(t, data)
	if code, out, errOut := execute(t, []string{data}, "key", "rotate"); code != 0 || !strings.Contains(out, "Tokens are signed with the new key ") || !strings.Contains(out, "are good until they end") {
		t.Errorf("while it runs: %d\n%s%s", code, out, errOut)
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.end(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, c.log)
	}
	code, out, errOut := execute(t, []string{data}, "key", "rotate")
	if code != 0 || !strings.Contains(out, "Tokens are signed with the new key ") || !strings.Contains(out, "are good until they end") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	var result rotated
	code, out, errOut = execute(t, []string{data}, "key", "rotate", "--revoke", "--output", "json")
	if err := json.Unmarshal([]byte(out), &result); code != 0 || err != nil || result.Key == "" || result.Until != nil {
		t.Errorf("%d, %v\n%s%s", code, err, out, errOut)
	}
	if _, out, _ = execute(t, []string{data, "HAVN_HTTP_ADDR=127.0.0.1:0"}, "doctor"); !strings.Contains(out, "tokens are signed with key "+result.Key) {
		t.Errorf("doctor:\n%s", out)
	}
	spawn(t, data)
}

// addr answers where the child listens.
func (c *child) addr() string {
	_, addr, _ := strings.Cut(c.log.String(), "msg=listening addr=")
	addr, _, _ = strings.Cut(addr, " ")
	return addr
}

// login answers the status of a login.
func (c *child) login(t *testing.T, password string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.addr()+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", password)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err = answer.Body.Close(); err != nil {
		t.Error(err)
	}
	return answer.StatusCode
}

func TestALostPasswordIsResetBetweenTwoStarts(t *testing.T) {
	t.Parallel()
	data := "HAVN_DATA_DIR=" + filepath.Join(t.TempDir(), "data")
	c := spawn(t, data)
	if code, _, errOut := execute(t, []string{data}, "admin", "reset-password"); code != 1 || !strings.Contains(errOut, "is in use by process") || !strings.Contains(errOut, "stop it, reset the password") {
		t.Errorf("while it runs: %d\n%s", code, errOut)
	}
	if status := c.login(t, "correct-horse-7"); status != http.StatusOK {
		t.Errorf("before: %d", status)
	}
	stop := func() {
		t.Helper()
		c.signal(t, syscall.SIGTERM)
		if code := c.end(t); code != 0 {
			t.Fatalf("exit code %d\n%s", code, c.log)
		}
	}
	stop()
	var result wasReset
	code, out, errOut := execute(t, []string{data}, "admin", "reset-password", "--output", "json")
	if err := json.Unmarshal([]byte(out), &result); code != 0 || err != nil || result.User != "admin" || len(result.Password) < 20 || errOut != "" {
		t.Errorf("%d, %v\n%s%s", code, err, out, errOut)
	}
	c = spawn(t, data)
	if made, old := c.login(t, result.Password), c.login(t, "correct-horse-7"); made != http.StatusOK || old != http.StatusUnauthorized {
		t.Errorf("the one that was made: %d, the old one: %d", made, old)
	}
	stop()
	code, out, errOut = executeOn(t, "given horse 9\r\nand more", []string{data}, "admin", "reset-password", "--stdin")
	if code != 0 || errOut != "" || strings.Contains(out, "given horse") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	c = spawn(t, data)
	if given, made := c.login(t, "given horse 9"), c.login(t, result.Password); given != http.StatusOK || made != http.StatusUnauthorized {
		t.Errorf("the one that was given: %d, the one before: %d", given, made)
	}
}

func TestAStoreIsCheckedWhileItIsServed(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	spawn(t, "HAVN_DATA_DIR="+data)
	code, out, errOut := execute(t, []string{"HAVN_DATA_DIR=" + data}, "store", "check")
	if code != 0 || strings.Count(out, "ok ") < 10 || !strings.Contains(out, "an object is not written over") {
		t.Errorf("%d\n%s%s", code, out, errOut)
	}
	var result storeChecked
	code, out, errOut = execute(t, []string{"HAVN_DATA_DIR=" + data}, "store", "check", "--output", "json")
	if err := json.Unmarshal([]byte(out), &result); code != 0 || err != nil || !result.OK || len(result.Checks) < 10 {
		t.Errorf("%d, %v\n%s%s", code, err, out, errOut)
	}
	left, err := filepath.Glob(filepath.Join(data, "blobs", "havn-check-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestTracesThatCannotBeSentAreALineOfTheLog(t *testing.T) {
	t.Parallel()
	c := spawn(t, "HAVN_TRACING_OTLP_ENDPOINT=http://127.0.0.1:1")
	_, addr, _ := strings.Cut(c.log.String(), "msg=listening addr=")
	addr, _, _ = strings.Cut(addr, " ")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err = res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.end(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(c.log.String(), "connection refused") {
		t.Errorf("nothing about it in the log:\n%s", c.log)
	}
	for line := range strings.Lines(c.log.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("not a line of the log: %s", line)
		}
	}
}

func TestALogThatNobodyReadsIsNoReasonToEnd(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "serve")
	cmd.Env = []string{asProgram + "=1", "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + filepath.Join(t.TempDir(), "data"), "HAVN_ADMIN_PASSWORD=correct-horse-7"}
	cmd.Stderr = writer
	if err = errors.Join(cmd.Start(), writer.Close()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(reader)
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=ready") {
		continue
	}
	if err = errors.Join(lines.Err(), reader.Close()); err != nil { // the log's reader dies
		t.Fatal(err)
	}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} { // each of them writes to the log
		if err = cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if err = cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestOneSignalStopsInOrderAndASecondAtOnce(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := spawn(t)
		if !strings.Contains(c.log.String(), "msg=listening addr=127.0.0.1:") {
			t.Errorf("log:\n%s", c.log)
		}
		c.signal(t, syscall.SIGHUP)
		c.await(t, "asked to reload")
		c.signal(t, s)
		if code := c.end(t); code != 0 {
			t.Errorf("%s: exit code %d, want 0\n%s", s, code, c.log)
		}
	}
	c := spawn(t, "HAVN_HTTP_DRAIN_DELAY=5m")
	c.signal(t, syscall.SIGTERM)
	c.await(t, "msg=stopping")
	c.signal(t, syscall.SIGTERM)
	if code := c.end(t); code != 143 {
		t.Errorf("exit code %d, want 143\n%s", code, c.log)
	}
}

// The failure of a command that said why itself, as a lab in the background does, is told by the exit code alone.
func TestAFailureThatWasSaidIsNotSaidAgain(t *testing.T) {
	t.Parallel()
	err := failed(outcome{code: exitFailed})
	var o outcome
	if !errors.As(err, &o) || o.error != nil || o.code != exitFailed {
		t.Errorf("%#v", err)
	}
}
