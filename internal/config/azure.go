package config

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Azure is a container of the driver azure.
type Azure struct {
	Account         string
	Endpoint        *url.URL // nil: the account's in the public cloud
	Container       string
	Key             Secret // "": SASToken, or this machine's identity
	SASToken        Secret
	ClientID        string // "": the machine's only identity
	CreateContainer bool
	CAFile          string
	BlockSize       int64
}

// maxBlocks is how many blocks Azure puts together to an object.
const maxBlocks = 50000

func azureKeys() []key {
	return []key{
		text("storage.azure.account", "a storage account's name", "", "The storage account.", func(c *Config) *string { return &c.Storage.Azure.Account }, azureAccountText).like("registrystore").
			empty("none; only with storage.azure.endpoint it may be left out, unless there is a key or storage.redirect is on"),
		parsed("storage.azure.endpoint", "URL", "http:// or https://, a host, maybe a path", "", "Address of the account's blob service, without the container, where it is not in Azure's public cloud: another cloud, an own domain, Azurite.",
			func(c *Config) **url.URL { return &c.Storage.Azure.Endpoint }, azureEndpoint, writeURL).
			like("https://registrystore.blob.core.chinacloudapi.cn").empty("`https://` + the account + `.blob.core.windows.net`"),
		text("storage.azure.container", "a container's name", "", "The container.", func(c *Config) *string { return &c.Storage.Azure.Container }, azureContainerText).like("registry").empty("none"),
		secret("storage.azure.key", "base64", "One of the account's two access keys.", func(c *Config) *Secret { return &c.Storage.Azure.Key }, 1, 1024).
			empty("storage.azure.sas_token; without that too, what the environment gives: AZURE_ variables, a workload identity, the machine's managed identity"),
		secret("storage.azure.sas_token", "a query with sig=", "Shared access signature of the container or the account; it must allow to read, create, write, delete and list. Havn can't renew it, nor sign URLs for storage.redirect with it.",
			func(c *Config) *Secret { return &c.Storage.Azure.SASToken }, 1, 4096).empty("see storage.azure.key"),
		text("storage.azure.client_id", "a client's id", "", "Which of a machine's managed identities to use, where it has several.", func(c *Config) *string { return &c.Storage.Azure.ClientID }, anyText).
			like("8f1b9b1e-5c3c-4f3b-9d3f-0a4f0c4a6f10").empty("the only one"),
		toggle("storage.azure.create_container", true, "Make the container if it is not there.", func(c *Config) *bool { return &c.Storage.Azure.CreateContainer }),
		text("storage.azure.ca_file", "a PEM file", "", "Certificates of authorities that are trusted for the blob service, beside the system's and those of outbound.ca_file.",
			func(c *Config) *string { return &c.Storage.Azure.CAFile }, anyText).like("/etc/havn/azure-ca.crt").empty("no others"),
		size("storage.azure.block_size", "16MiB", "Objects longer than this are sent in blocks of this size, four at once. A block waits in memory, or in the data directory, until it was sent.",
			func(c *Config) *int64 { return &c.Storage.Azure.BlockSize }, extent{min: mib, max: 512 * mib}),
	}
}

func azureEndpoint(s string) (*url.URL, error) {
	if strings.Contains(s, "?") { // what is behind it is a secret, and is not repeated
		return nil, fmt.Errorf("has a query: a shared access signature goes to storage.azure.sas_token")
	}
	return parseURL(s, true, "https", "http")
}

func azureAccountText(s string) error {
	if strings.ContainsAny(s, "/.:?# ") {
		return fmt.Errorf("%q is not an account's name alone: an address goes to storage.azure.endpoint", s)
	}
	return nil
}

func azureContainerText(s string) error {
	if s == "" || s == "$root" {
		return nil
	}
	if strings.Contains(s, "/") {
		return fmt.Errorf("%q is not a container's name alone: a path in it goes to storage.prefix", s)
	}
	if len(s) < 3 || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return fmt.Errorf("%q is no name of a container: 3 to 63 lower-case letters, digits and single hyphens", s)
	}
	return nil
}

// SAS answers the shared access signature without the question mark with which it is often copied.
func (a *Azure) SAS() string { return strings.TrimPrefix(strings.TrimSpace(a.SASToken.Reveal()), "?") }

// SASEnd answers when the shared access signature ends, zero if there is none, or it does not say.
func (a *Azure) SASEnd() time.Time {
	q, err := url.ParseQuery(a.SAS())
	if err != nil {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} { // what Azure allows
		if at, parseErr := time.Parse(layout, q.Get("se")); parseErr == nil {
			return at
		}
	}
	return time.Time{}
}

// consistentAzure answers what is wrong between the keys of a container of Azure's.
func (c *Config) consistentAzure(blame func(key, text, allowed string)) {
	a := &c.Storage.Azure
	if c.Storage.Driver != AzureDriver {
		if a.Container != "" {
			blame("storage.azure.container", fmt.Sprintf("is set, and storage.driver is %s", c.Storage.Driver), "storage.driver: azure, or no container")
		}
		return
	}
	if a.Container == "" {
		blame("storage.azure.container", "is not set, and storage.driver is azure", "the container's name")
	}
	if a.Account == "" && (a.Endpoint == nil || a.Key.Reveal() != "" || c.Storage.Redirect) {
		blame("storage.azure.account", "is not set, and storage.driver is azure", "the storage account's name")
	}
	c.consistentAzureAccess(blame)
	if c.Uploads.MaxObjectSize > a.BlockSize*maxBlocks {
		blame("uploads.max_object_size", fmt.Sprintf("is more than %d blocks of storage.azure.block_size", maxBlocks), "at most "+writeSize(a.BlockSize*maxBlocks)+", or a larger storage.azure.block_size")
	}
	if c.Storage.Filesystem.Path != "" {
		blame("storage.filesystem.path", "is set, and storage.driver is azure", "no path, or storage.driver: filesystem")
	}
}

// consistentAzureAccess answers what is wrong between the keys that let Havn in.
func (c *Config) consistentAzureAccess(blame func(key, text, allowed string)) {
	a := &c.Storage.Azure
	key, sas := a.Key.Reveal(), a.SAS()
	if key != "" && sas != "" {
		blame("storage.azure.sas_token", "is set, and storage.azure.key too", "one of them")
	}
	if _, err := base64.StdEncoding.DecodeString(key); err != nil {
		blame("storage.azure.key", "is not in base64", "an access key as Azure shows it, which ends with =")
	}
	if sas != "" {
		if q, err := url.ParseQuery(sas); err != nil || q.Get("sig") == "" || q.Get("sv") == "" {
			blame("storage.azure.sas_token", "is no shared access signature", "a text like sv=…&sp=rcwdl&…&sig=…, without an address in front")
		}
	}
	if sas != "" && c.Storage.Redirect {
		blame("storage.redirect", "is on, and a SAS can't sign URLs", "storage.azure.key, a managed identity, or storage.redirect: off")
	}
	if key == "" && sas == "" && a.Endpoint != nil && a.Endpoint.Scheme == "http" {
		blame("storage.azure.endpoint", "is http://, over which an identity's token is not sent", "https://, or storage.azure.key or storage.azure.sas_token")
	}
	if a.ClientID != "" && key+sas != "" {
		blame("storage.azure.client_id", "is set, and storage.azure.key or storage.azure.sas_token too", "one of them")
	}
}

// probeAzure looks at the files that the keys of a container of Azure's name.
func (c *Config) probeAzure() Problems {
	file := c.Storage.Azure.CAFile
	if file == "" || c.Storage.Driver != AzureDriver {
		return nil
	}
	if err := appendAuthorities(x509.NewCertPool(), file); err != nil {
		return Problems{{c.origins["storage.azure.ca_file"].source, "storage.azure.ca_file", err.Error(), "a readable PEM file with certificates"}}
	}
	return nil
}
