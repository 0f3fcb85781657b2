package projecttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/project"
)

func metadata(t *testing.T, w *world) {
	ctx := t.Context()
	id := w.make(t, "set", false)
	before, err := w.Get(ctx, id)
	need(t, err)
	for _, c := range []struct {
		key, value, want string // "": Invalid
	}{
		{"public", "True", "true"},
		{"public", "0", "false"},
		{"public", "yes", ""},
		{"public", "", ""},
		{"enable_content_trust", "true", "true"},
		{"enable_content_trust_cosign", "t", "true"},
		{"prevent_vul", "false", "false"},
		{"auto_scan", "1", "true"},
		{"auto_sbom_generation", "true", "true"},
		{"reuse_sys_cve_allowlist", "false", "false"},
		{"auto_scan", "maybe", ""},
		{"severity", "HIGH", "high"},
		{"severity", "none", "none"},
		{"severity", "awful", ""},
		{"severity", "", ""},
		{"proxy_speed_kb", "-1", "-1"},
		{"proxy_speed_kb", "+100", "100"},
		{"proxy_speed_kb", "-2", ""},
		{"proxy_speed_kb", "2147483648", ""},
		{"proxy_speed_kb", "1e3", ""},
		{"max_upstream_conn", "30", "30"},
		{"max_upstream_conn", "0", ""},
		{"max_upstream_conn", "-1", "-1"},
		{"retention_id", "7", ""},
		{"retention_id", "x", ""},
		{"cve_allowlist", "{}", ""},
		{"Public", "true", ""},
		{"", "true", ""},
		{"auto_scan\x00", "true", ""},
		{strings.Repeat("k", 70000), "v", ""},
	} {
		setErr := w.SetMetadata(ctx, id, map[string]string{c.key: c.value})
		if c.want == "" {
			if !fail.Is(setErr, fail.Invalid) || fail.HintOf(setErr) == "" || len(setErr.Error()) > 500 {
				t.Errorf("%.40q = %q: %v", c.key, c.value, setErr)
			}
			continue
		}
		if setErr != nil {
			t.Errorf("%q = %q: %v", c.key, c.value, setErr)
			continue
		}
		all, getErr := w.Metadata(ctx, id)
		need(t, getErr)
		if all[c.key] != c.want {
			t.Errorf("%q = %q is kept as %q", c.key, c.value, all[c.key])
		}
	}
	all, err := w.Metadata(ctx, id)
	need(t, err)
	want(t, w.SetMetadata(ctx, id, map[string]string{"auto_scan": "false", "severity": "awful"}), fail.Invalid)
	after, err := w.Get(ctx, id)
	need(t, err)
	if !maps.Equal(all, after.Metadata) {
		t.Errorf("a change that was refused left %v of %v", after.Metadata, all)
	}
	if !after.ChangedAt.After(before.ChangedAt) || !after.CreatedAt.Equal(before.CreatedAt) {
		t.Errorf("changed at %v, before %v", after.ChangedAt, before.ChangedAt)
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		need(t, w.DeleteMetadata(ctx, id, key))
		if key != "public" {
			want(t, w.DeleteMetadata(ctx, id, key), fail.NotFound)
		}
	}
	want(t, w.DeleteMetadata(ctx, id, "colour"), fail.NotFound)
	if all, err = w.Metadata(ctx, id); err != nil || !maps.Equal(all, map[string]string{"public": "false"}) {
		t.Errorf("left: %v, %v", all, err)
	}
	// What a retention policy left may be sent back, and nothing else.
	w.exec(t, "INSERT INTO project_metadata (project, k, v) VALUES (?, 'retention_id', '7')", id)
	need(t, w.SetMetadata(ctx, id, map[string]string{"retention_id": "7", "auto_scan": "true"}))
	need(t, w.SetMetadata(ctx, id, map[string]string{"retention_id": ""}))
	want(t, w.SetMetadata(ctx, id, map[string]string{"retention_id": "8", "auto_scan": "false"}), fail.Invalid)
	if all, err = w.Metadata(ctx, id); err != nil || all["retention_id"] != "7" || all["auto_scan"] != "true" {
		t.Errorf("%v, %v", all, err)
	}
}

func allowlist(t *testing.T, w *world) {
	ctx := t.Context()
	id := w.make(t, "lenient", false)
	p, err := w.Get(ctx, id)
	need(t, err)
	if len(p.Allowlist.CVEs) != 0 || !p.Allowlist.ExpiresAt.IsZero() || !p.Allowlist.ChangedAt.IsZero() {
		t.Errorf("%+v", p.Allowlist)
	}
	list := project.Allowlist{CVEs: []string{"CVE-2024-1", " CVE-2023-22 ", "GHSA-\"ü\""}, ExpiresAt: time.Unix(2_000_000_000, 0)}
	need(t, w.Update(ctx, id, project.Change{Allowlist: &list, Metadata: map[string]string{"reuse_sys_cve_allowlist": "false"}}))
	need(t, w.Update(ctx, id, project.Change{Metadata: map[string]string{"auto_scan": "true"}}))
	p, err = w.Get(ctx, id)
	need(t, err)
	if !slices.Equal(p.Allowlist.CVEs, []string{"CVE-2024-1", "CVE-2023-22", "GHSA-\"ü\""}) || !p.Allowlist.ExpiresAt.Equal(list.ExpiresAt) || time.Since(p.Allowlist.ChangedAt) > time.Minute {
		t.Errorf("%+v", p.Allowlist)
	}
	if _, ok := p.Metadata["cve_allowlist"]; ok || len(p.Metadata) != 3 {
		t.Errorf("%v", p.Metadata)
	}
	var long []string
	for i := range 4000 {
		long = append(long, fmt.Sprintf("CVE-2024-%07d", i))
	}
	for _, bad := range [][]string{{"CVE-1", "CVE-1"}, {""}, {"  "}, {"CVE-1\n"[:5] + "\x00"}, {"\xff"}, long} {
		want(t, w.Update(ctx, id, project.Change{Allowlist: &project.Allowlist{CVEs: bad}, Metadata: map[string]string{"auto_scan": "false"}}), fail.Invalid)
	}
	need(t, w.Update(ctx, id, project.Change{Allowlist: &project.Allowlist{CVEs: long[:3000]}}))
	if p, err = w.Get(ctx, id); err != nil || len(p.Allowlist.CVEs) != 3000 || !p.Allowlist.ExpiresAt.IsZero() || p.Metadata["auto_scan"] != "true" {
		t.Errorf("%d, %v, %v", len(p.Allowlist.CVEs), p.Metadata, err)
	}
}
