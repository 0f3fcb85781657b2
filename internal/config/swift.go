package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Swift is where the driver swift keeps its objects.
type Swift struct {
	AuthURL         *url.URL // nil if not set
	AuthVersion     int      // 0: as AuthURL says
	Username        string
	Password        Secret
	Tenant          string
	Domain          string
	Region          string
	Container       string   // use AllContainers
	Containers      []string // likewise
	CreateContainer bool
	TempURLKey      Secret
	CAFile          string
}

// AllContainers answers the one container, or those that objects are spread over.
func (s Swift) AllContainers() []string {
	if s.Container != "" {
		return []string{s.Container}
	}
	return s.Containers
}

// maxSwiftObject is the largest object that Swift takes in one request, unless its operators changed that.
const maxSwiftObject = 5 * gib

func swiftKeys() []key {
	return []key{
		parsed("storage.swift.auth_url", "URL", "http:// or https://, a host, a path", "", "Where to log in: /auth/v1 of Ceph's radosgw, /v3 of OpenStack's Keystone.",
			func(c *Config) **url.URL { return &c.Storage.Swift.AuthURL }, func(s string) (*url.URL, error) { return parseURL(s, true, "https", "http") }, writeURL).
			like("http://10.32.3.70:7480/auth/v1").empty("none"),
		choice("storage.swift.auth_version", "auto", "Version of authentication; auto reads it from storage.swift.auth_url.", func(c *Config) *int { return &c.Storage.Swift.AuthVersion },
			[]string{"auto", "1", "2", "3"}, []int{0, 1, 2, 3}, equal),
		text("storage.swift.username", "any text", "", "User; with radosgw user:subuser.", func(c *Config) *string { return &c.Storage.Swift.Username }, anyText).like("registry:swift").empty("none"),
		secret("storage.swift.password", "at most 1024 bytes", "The user's password; with radosgw the subuser's secret key.", func(c *Config) *Secret { return &c.Storage.Swift.Password }, 1, 1024).empty("none"),
		text("storage.swift.tenant", "a name", "", "Tenant (version 2) or project (version 3).", func(c *Config) *string { return &c.Storage.Swift.Tenant }, anyText).like("registry").empty("the user's own"),
		text("storage.swift.domain", "a name", "", "Domain of the user and the project (version 3).", func(c *Config) *string { return &c.Storage.Swift.Domain }, anyText).empty("`Default`"),
		text("storage.swift.region", "a name", "", "Region (versions 2 and 3).", func(c *Config) *string { return &c.Storage.Swift.Region }, anyText).empty("the first that the catalogue of services names"),
		text("storage.swift.container", "a name without /", "", "The container.", func(c *Config) *string { return &c.Storage.Swift.Container }, swiftContainerText).like("registry.example.com").empty("see storage.swift.containers"),
		listed("storage.swift.containers", "list of names", "names without /", value{}, "Several containers instead of one, for stores that grow slow with the objects in a container. More may be added at the end of the list; none may leave it while it holds objects.",
			func(c *Config) *[]string { return &c.Storage.Swift.Containers }, func(s string) (string, error) { return s, errOr(someText(s), swiftContainerText(s)) }, func(s string) string { return s }).empty("the one container"),
		toggle("storage.swift.create_container", true, "Make containers that are not there.", func(c *Config) *bool { return &c.Storage.Swift.CreateContainer }),
		secret("storage.swift.temp_url_key", "8 to 1024 bytes", "The account's key for TempURLs, to which pulls are sent with storage.redirect. Havn gives it to the account if that has no other.",
			func(c *Config) *Secret { return &c.Storage.Swift.TempURLKey }, 8, 1024).empty("no signed URLs"),
		text("storage.swift.ca_file", "a PEM file", "", "Certificates of authorities that are trusted for the Swift servers, beside the system's and those of outbound.ca_file.",
			func(c *Config) *string { return &c.Storage.Swift.CAFile }, anyText).like("/etc/havn/swift-ca.crt").empty("no others"),
	}
}

func swiftContainerText(s string) error {
	if strings.Contains(s, "/") || len(s) > 256 {
		return fmt.Errorf("%q is not a container's name alone: a path in it goes to storage.prefix", s)
	}
	return nil
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// consistentSwift answers what is wrong between the keys of containers.
func (c *Config) consistentSwift(blame func(key, text, allowed string)) {
	s := c.Storage.Swift
	if c.Storage.Driver != SwiftDriver {
		if s.AuthURL != nil {
			blame("storage.swift.auth_url", fmt.Sprintf("is set, and storage.driver is %s", c.Storage.Driver), "storage.driver: swift, or no auth_url")
		}
		return
	}
	for _, must := range []struct {
		key     string
		missing bool
		allowed string
	}{
		{"storage.swift.auth_url", s.AuthURL == nil, "an address like http://10.32.3.70:7480/auth/v1"},
		{"storage.swift.username", s.Username == "", "the user's name; with radosgw like registry:swift"},
		{"storage.swift.password", s.Password.Reveal() == "", "the user's password; with radosgw the subuser's secret key"},
		{"storage.swift.container", len(s.AllContainers()) == 0, "a container's name"},
	} {
		if must.missing {
			blame(must.key, "is not set, and storage.driver is swift", must.allowed)
		}
	}
	if s.Container != "" && len(s.Containers) > 0 && !slices.Equal(s.Containers, []string{s.Container}) {
		blame("storage.swift.containers", "is set, and storage.swift.container too", "one of them")
	}
	if c.Storage.Redirect && s.TempURLKey.Reveal() == "" {
		blame("storage.redirect", "is on, and storage.swift.temp_url_key is not set", "a key for TempURLs, or storage.redirect: off")
	}
	if c.Uploads.MaxObjectSize > maxSwiftObject {
		blame("uploads.max_object_size", "is more than Swift takes in one object", "at most "+writeSize(maxSwiftObject))
	}
	if c.Storage.Filesystem.Path != "" {
		blame("storage.filesystem.path", "is set, and storage.driver is swift", "no path, or storage.driver: filesystem")
	}
}

// probeSwift looks at the files that the keys of containers name.
func (c *Config) probeSwift() Problems {
	file := c.Storage.Swift.CAFile
	if file == "" || c.Storage.Driver != SwiftDriver {
		return nil
	}
	if err := appendAuthorities(x509.NewCertPool(), file); err != nil {
		return Problems{{c.origins["storage.swift.ca_file"].source, "storage.swift.ca_file", err.Error(), "a readable PEM file with certificates"}}
	}
	return nil
}
