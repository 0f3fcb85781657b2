package project

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Keys that mean something here.
const (
	keyPublic    = "public"
	keyRetention = "retention_id"
	keyAllowlist = "cve_allowlist" // not one of the metadata that are shown
)

// keys are the metadata of a project, by the names of Harbor's API, each with what makes its value normal. Later work acts on most of them.
var keys = map[string]func(value string) (string, error){
	keyPublic:                        boolean,
	"enable_content_trust":           boolean,
	"enable_content_trust_cosign":    boolean,
	"prevent_vul":                    boolean,
	"severity":                       severity,
	"auto_scan":                      boolean,
	"auto_sbom_generation":           boolean,
	"reuse_sys_cve_allowlist":        boolean,
	"proxy_cache_local_on_not_found": boolean,
	"proxy_referrer_api":             boolean,
	"proxy_speed_kb":                 func(v string) (string, error) { return number(v, -1) },
	"max_upstream_conn":              connections,
	keyRetention:                     retention,
}

// Keys answers the names of all metadata, sorted.
func Keys() []string { return slices.Sorted(maps.Keys(keys)) }

// CheckMetadata answers metadata in their normal form. Invalid if a key is not known, or its value can't be.
func CheckMetadata(set map[string]string) (map[string]string, error) { return normal(set) }

func normal(set map[string]string) (map[string]string, error) {
	all := make(map[string]string, len(set))
	for _, key := range slices.Sorted(maps.Keys(set)) {
		check, ok := keys[key]
		if !ok {
			return nil, fail.E(fail.Invalid, nil, "metadata key %.100q", key).Hint("use one of %s", strings.Join(Keys(), ", "))
		}
		value, err := check(set[key])
		if err != nil {
			return nil, fail.E(fail.Invalid, err, "value %.100q of metadata %s", set[key], key).Hint("%s", fail.HintOf(err))
		}
		all[key] = value
	}
	return all, nil
}

func boolean(v string) (string, error) {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return "", fail.E(fail.Invalid, nil, "not a truth value").Hint("use true or false")
	}
	return strconv.FormatBool(b), nil
}

// number takes whole numbers of 32 bits that are not below least.
func number(v string, least int64) (string, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < least {
		return "", fail.E(fail.Invalid, nil, "not a number, or out of range").Hint("use a whole number from %d to %d", least, 1<<31-1)
	}
	return strconv.FormatInt(n, 10), nil
}

func connections(v string) (string, error) {
	s, err := number(v, -1)
	if err == nil && s == "0" {
		err = fail.E(fail.Invalid, nil, "no connection").Hint("use a number above 0, or -1 for as many as there may be")
	}
	return s, err
}

// severities of what scanners find, from the mildest.
var severities = []string{"none", "low", "medium", "high", "critical"}

func severity(v string) (string, error) {
	v = strings.ToLower(v)
	if !slices.Contains(severities, v) {
		return "", fail.E(fail.Invalid, nil, "not a severity").Hint("use one of %s", strings.Join(severities, ", "))
	}
	return v, nil
}

// retention takes what an API may send back of what it was told; see sameRetention.
func retention(v string) (string, error) {
	if v == "" {
		return v, nil
	}
	return number(v, 1)
}

// sameRetention refuses another retention policy than the project has: it is set by what makes policies.
func sameRetention(ctx context.Context, q sqldb.Querier, id int64, set map[string]string) error {
	want := set[keyRetention]
	if want == "" {
		return nil
	}
	there, err := index.Metadata(ctx, q, []int64{id})
	if err == nil && there[id][keyRetention] != want {
		err = fail.E(fail.Invalid, nil, "%s %s is not the project's", keyRetention, want).Hint("leave it out: it is set when a retention policy is made")
	}
	return err
}

// shown answers what people see of what is set.
func shown(public bool, set map[string]string) (map[string]string, Allowlist, error) {
	list, err := readAllowlist(set[keyAllowlist])
	all := map[string]string{keyPublic: strconv.FormatBool(public)}
	for key, value := range set {
		if key != keyAllowlist {
			all[key] = value
		}
	}
	return all, list, err
}

// Metadata answers what is set of a project, "public" always. NotFound if there is no such project.
func (p *Projects) Metadata(ctx context.Context, id int64) (map[string]string, error) {
	var all map[string]string
	err := p.db.View(ctx, "metadata.get", func(q sqldb.Querier) error {
		found, err := index.ProjectByID(ctx, q, id)
		if err != nil {
			return err
		}
		set, err := index.Metadata(ctx, q, []int64{id})
		if err != nil {
			return err
		}
		all, _, err = shown(found.Public, set[id])
		return err
	})
	if fail.Is(err, fail.NotFound) {
		return nil, unknown(id)
	}
	if err != nil {
		return nil, fmt.Errorf("read metadata of project %d: %w", id, err)
	}
	return all, nil
}

// SetMetadata sets some metadata and leaves the others. NotFound if there is no such project; Invalid, and nothing is set, if one value can't be.
func (p *Projects) SetMetadata(ctx context.Context, id int64, set map[string]string) error {
	return p.Update(ctx, id, Change{Metadata: set})
}

// DeleteMetadata removes one of a project's metadata: from then on what is so without it. NotFound if it is not set, or if there is no such project.
func (p *Projects) DeleteMetadata(ctx context.Context, id int64, key string) error {
	if _, ok := keys[key]; !ok {
		return fail.E(fail.NotFound, nil, "metadata %.100q of project %d", key, id)
	}
	if key == keyPublic {
		return p.SetMetadata(ctx, id, map[string]string{keyPublic: strconv.FormatBool(false)})
	}
	err := p.change(ctx, id, "metadata.delete", func(tx *sqldb.Tx) error {
		n, err := index.DeleteMetadata(ctx, tx, id, key)
		if err == nil && n == 0 {
			err = fail.E(fail.NotFound, nil, "metadata %s of project %d", key, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete metadata of project %d: %w", id, err)
	}
	return nil
}
