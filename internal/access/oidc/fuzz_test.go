package oidc_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/access/oidc"
)

// FuzzReturn compares with what browsers do: they drop tabs and line ends and take \ for / (URL standard, basic URL parser).
func FuzzReturn(f *testing.F) {
	for _, s := range []string{"/", "//evil.example", `/\evil`, "/\t/evil", "/a?b#c", "/..//evil.example", "https:/evil", "/%2F/evil"} {
		f.Add(s)
	}
	here := &url.URL{Scheme: "https", Host: "registry.example", Path: "/c/oidc/callback"}
	f.Fuzz(func(t *testing.T, s string) {
		path, err := oidc.Local(s)
		if err != nil {
			return
		}
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimFunc(path, func(r rune) bool { return r <= ' ' }))
		to, err := here.Parse(seen)
		if err != nil || to.Host != here.Host || to.Scheme != "https" || to.User != nil || !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("%q leads to %v, %v", s, to, err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"ada", " a b ", "\x00", "\xff", "robot$x", "a:b", strings.Repeat("ö", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := oidc.Cleaned(s)
		if len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, ":,~#$% \t\n") {
			t.Errorf("%q is cleaned to %q", s, name)
		}
		if again := oidc.Cleaned(name); again != name {
			t.Errorf("%q is cleaned to %q, and that to %q", s, name, again)
		}
	})
}
