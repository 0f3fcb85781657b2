package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// packed answers a package of npm with one file, and its hash as in a lock.
func packed(t *testing.T, name, text string) (data []byte, integrity string) {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	if err := files.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(out.Bytes())
	return out.Bytes(), "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestALockOfNpmIsInstalled(t *testing.T) {
	t.Parallel()
	plain, plainSum := packed(t, "package/dist/main.js", "plain")
	scoped, scopedSum := packed(t, "other-name/main.js", "scoped")
	out, outSum := packed(t, "package/../other/out.js", "out")
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := map[string][]byte{"/plain/-/plain-1.0.0.tgz": plain, "/@scope/part/-/part-2.1.0-rc.1.tgz": scoped, "/out/-/out-1.0.0.tgz": out}[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(data); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(registry.Close)
	for _, c := range []struct{ what, packages, wrong string }{
		{"all there", fmt.Sprintf(`"": {"name": "x"}, "node_modules/plain": {"version": "1.0.0", "integrity": %q}, "node_modules/plain/node_modules/@scope/part": {"version": "2.1.0-rc.1", "integrity": %q},
			"node_modules/@scope/left-out": {"resolved": "node_modules/plain/absent", "link": true}`, plainSum, scopedSum), ""},
		{"another content", fmt.Sprintf(`"node_modules/plain": {"version": "1.0.0", "integrity": %q}`, scopedSum), "another content"},
		{"an older hash", `"node_modules/plain": {"version": "1.0.0", "integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}`, "SHA-512"},
		{"out of its folder", fmt.Sprintf(`"node_modules/out": {"version": "1.0.0", "integrity": %q}`, outSum), "out of its folder"},
		{"not there", fmt.Sprintf(`"node_modules/gone": {"version": "1.0.0", "integrity": %q}`, plainSum), "404"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "absent"), 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"package-lock.json": `{"lockfileVersion": 3, "packages": {` + c.packages + `}}`, "absent/index.js": "absent"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // no second try of what is not there
			defer cancel()
			err := npmInstall(ctx, registry.URL, dir)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
				if _, statErr := os.Stat(filepath.Join(dir, "node_modules", "other")); statErr == nil {
					t.Error("a package wrote into another one's folder")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"node_modules/plain/dist/main.js": "plain", "node_modules/plain/node_modules/@scope/part/main.js": "scoped", "node_modules/@scope/left-out/index.js": "absent",
			} {
				if got, readErr := os.ReadFile(filepath.Join(dir, name)); readErr != nil || string(got) != want {
					t.Errorf("%s: %q, %v", name, got, readErr)
				}
			}
		})
	}
}
