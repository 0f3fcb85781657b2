package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRESTAPIIsMounted(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_METRICS_ADDR=127.0.0.1:0")
	api := r.URL() + "/api/v2.0"
	if a := get(t, api+"/ping"); a.StatusCode != http.StatusOK || a.body != "Pong" || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("ping: %s %s %v", a.Status, a.body, a.Header)
	}
	if a := get(t, api+"/nothing"); a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, `{"errors":[{"code":"NOT_FOUND"`) {
		t.Errorf("a path that is not there: %s %s", a.Status, a.body)
	}
	if a := get(t, r.URL()+"/devcenter-api-2.0"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "listRepositories") {
		t.Errorf("the reference: %s", a.Status)
	}
	if a := get(t, api+"/systeminfo", basic()...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"external_url":"`+r.URL()+`"`) || !strings.Contains(a.body, `"registry_storage_provider_name":"filesystem"`) {
		t.Errorf("systeminfo: %s %s", a.Status, a.body)
	}
	if a := get(t, api+"/systeminfo/volumes", basic()...); a.StatusCode != http.StatusOK || !strings.Contains(a.body, `"total":`) {
		t.Errorf("volumes: %s %s", a.Status, a.body)
	}
	if a := get(t, "http://"+r.MetricsAddr().String()+"/metrics"); !strings.Contains(a.body, `route="rest"`) {
		t.Error("the metrics do not tell these requests apart")
	}
	id := filepath.Join(r.data, "blobs", "havn-store-id")
	if err := os.Rename(id, id+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, "a health that tells of the store", func() bool {
		return strings.Contains(get(t, api+"/health").body, `{"error":"not found","name":"storage","status":"unhealthy"}],"status":"unhealthy"}`)
	})
}
