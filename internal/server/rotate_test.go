package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/server"
)

func TestTheKeyOfTokensIsRotatedAndRevokedWhileSQLiteIsServed(t *testing.T) {
	t.Parallel()
	c, data := configure(t)
	r := startWith(t, server.Options{Config: c}, data)
	token := func() (raw, kid string) {
		t.Helper()
		var answer struct{ Token string }
		if a := get(t, r.URL()+"/service/token?service=harbor-registry", basic()...); json.Unmarshal([]byte(a.body), &answer) != nil || answer.Token == "" {
			t.Fatalf("%s %s", a.Status, a.body)
		}
		text, err := base64.RawURLEncoding.DecodeString(answer.Token[:strings.IndexByte(answer.Token, '.')])
		var head struct{ Kid string }
		if err != nil || json.Unmarshal(text, &head) != nil {
			t.Fatalf("%q, %v", text, err)
		}
		return answer.Token, head.Kid
	}
	status := func(raw string) int { return get(t, r.URL()+"/v2/", "Authorization", "Bearer "+raw).StatusCode }
	old, _ := token()
	done, err := server.RotateKey(t.Context(), c, false)
	if err != nil || done.New == "" || done.Until.IsZero() {
		t.Fatalf("%+v, %v", done, err)
	}
	await(t, "a token of the new key", func() bool { _, kid := token(); return kid == done.New })
	if s := status(old); s != http.StatusOK {
		t.Errorf("a token of the old key: %d", s)
	}
	fresh, _ := token()
	if done, err = server.RotateKey(t.Context(), c, true); err != nil || !done.Until.IsZero() {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, raw := range []string{old, fresh} {
		await(t, "the end of a token of a revoked key", func() bool { return status(raw) == http.StatusUnauthorized })
	}
	if raw, kid := token(); kid != done.New || status(raw) != http.StatusOK {
		t.Errorf("signed by %s, want %s", kid, done.New)
	}
	files, err := os.ReadDir(data)
	for _, f := range files {
		if strings.Contains(f.Name(), "key") {
			t.Errorf("%s is left", f.Name())
		}
	}
	if err != nil {
		t.Error(err)
	}
}
