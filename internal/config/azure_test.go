package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
)

func TestWhatIsMissingOfAzureIsSaid(t *testing.T) {
	t.Parallel()
	azure := "HAVN_STORAGE_DRIVER=azure HAVN_STORAGE_AZURE_ACCOUNT=store "
	whole := azure + "HAVN_STORAGE_AZURE_CONTAINER=registry "
	const sas = "HAVN_STORAGE_AZURE_SAS_TOKEN=sv=2026-06-06&sp=rcwdl&sig=hush "
	const azurite = "HAVN_STORAGE_AZURE_ENDPOINT=http://127.0.0.1:10000/store "
	const key = "HAVN_STORAGE_AZURE_KEY=aHVzaA== "
	for env, want := range map[string]string{
		whole:                                    "",
		whole + key + "HAVN_STORAGE_REDIRECT=on": "",
		whole + key + azurite:                    "",
		whole + sas + azurite:                    "",
		whole + strings.Replace(sas, "sv=", "?sv=", 1):                                     "",
		whole + "HAVN_STORAGE_AZURE_CLIENT_ID=a HAVN_STORAGE_REDIRECT=on":                  "",
		"HAVN_STORAGE_DRIVER=azure HAVN_STORAGE_AZURE_CONTAINER=registry " + sas + azurite: "",
		"HAVN_STORAGE_DRIVER=azure HAVN_STORAGE_AZURE_CONTAINER=registry " + key + azurite: "storage.azure.account: is not set",
		"HAVN_STORAGE_DRIVER=azure HAVN_STORAGE_AZURE_CONTAINER=registry " + sas:           "storage.azure.account: is not set",
		azure:                                   "storage.azure.container: is not set",
		"HAVN_STORAGE_AZURE_CONTAINER=registry": "storage.azure.container: is set, and storage.driver is filesystem",
		azure + "HAVN_STORAGE_AZURE_CONTAINER=Registry":                  "is no name of a container",
		azure + "HAVN_STORAGE_AZURE_CONTAINER=a--b":                      "is no name of a container",
		azure + "HAVN_STORAGE_AZURE_CONTAINER=a/b":                       "a path in it goes to storage.prefix",
		whole + "HAVN_STORAGE_AZURE_ACCOUNT=store.blob.core.windows.net": "an address goes to storage.azure.endpoint",
		whole + key + sas:                                                              "storage.azure.key too",
		whole + "HAVN_STORAGE_AZURE_KEY=no-base64":                                     "storage.azure.key: is not in base64",
		whole + "HAVN_STORAGE_AZURE_SAS_TOKEN=https://store/registry":                  "is no shared access signature",
		whole + sas + "HAVN_STORAGE_REDIRECT=on":                                       "a SAS can't sign URLs",
		whole + azurite:                                                                "an identity's token is not sent",
		whole + key + "HAVN_STORAGE_AZURE_CLIENT_ID=a":                                 "storage.azure.client_id: is set",
		whole + "HAVN_STORAGE_AZURE_ENDPOINT=https://store/?sv=1&sig=hush":             "goes to storage.azure.sas_token",
		whole + "HAVN_STORAGE_AZURE_BLOCK_SIZE=1MiB HAVN_UPLOADS_MAX_OBJECT_SIZE=1TiB": "more than 50000 blocks",
		whole + "HAVN_STORAGE_FILESYSTEM_PATH=/x":                                      "storage.filesystem.path: is set",
	} {
		_, _, err := config.Load(config.Source{Env: strings.Fields(env)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", env, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", env, err, want)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: a secret is repeated: %v", env, err)
		}
	}
	c := load(t, config.Source{Env: strings.Fields(whole + strings.Replace(sas, "sv=", "?sv=", 1) + "HAVN_STORAGE_AZURE_CA_FILE=/nowhere/ca.crt")})
	if got := c.Storage.Azure.SAS(); !strings.HasPrefix(got, "sv=") {
		t.Errorf("SAS %s", got)
	}
	if p := c.Probe(); len(p) != 1 || p[0].Key != "storage.azure.ca_file" || !strings.Contains(p[0].String(), "no such file") {
		t.Errorf("problems %v", p)
	}
}

func TestWhenASignatureEndsIsRead(t *testing.T) {
	t.Parallel()
	for se, want := range map[string]string{
		"se=2027-03-01T10:20:30Z": "2027-03-01T10:20:30Z", "se=2027-03-01T10:20Z": "2027-03-01T10:20:00Z", "se=2027-03-01": "2027-03-01T00:00:00Z", "si=policy": "0001-01-01T00:00:00Z", "se=soon": "0001-01-01T00:00:00Z",
	} {
		a := config.Azure{SASToken: config.NewSecret("?sv=2026-06-06&" + se + "&sig=hush")}
		if got := a.SASEnd().Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", se, got, want)
		}
	}
}
