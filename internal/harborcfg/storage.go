package harborcfg

import (
	"strings"

	"github.com/havn-registry/havn/internal/config"
)

const (
	nameKey   = "registry_storage_provider_name"
	configKey = "registry_storage_provider_config"
	driverKey = "storage.driver"
)

// provider is a driver of docker-registry 2.6, which Harbor 1.5 is built on.
type provider struct {
	driver  string // ours
	options []option
	read    func(*blobs) // what is more than one option for one key
	also    string       // what it makes, for the reference
}

// option is one that the driver knows.
type option struct {
	name string
	havn string // the key that takes its value as it is; "": read does, or text says why nothing does
	text string
}

// blobs is the reading of a store's options.
type blobs struct {
	*reading
	provider
	options options
	only    config.Condition
}

func providers() map[string]provider {
	return map[string]provider{
		"filesystem": filesystemProvider(), "s3": s3Provider(), "s3aws": s3Provider(), "swift": swiftProvider(),
		"azure": azureProvider(), "gcs": gcsProvider(), "oss": ossProvider(),
	}
}

// storage reads the blob store.
func (r *reading) storage() {
	name, text := r.value(nameKey), r.providerConfig()
	if name == "" {
		if text != "" {
			r.wrong(configKey, driverKey, always, "is set, and "+nameKey+" is not", nameKey+" too, or neither")
			return
		}
		r.says(nameKey, Ignored, "is empty: blobs are in Havn's data directory")
		r.says(configKey, Ignored, "is empty")
		return
	}
	p, ok := providers()[name]
	if !ok {
		r.wrong(nameKey, driverKey, always, "is no store that Harbor 1.5 knows", "filesystem, s3, swift, azure, gcs or oss")
		return
	}
	if _, err := r.accepts(driverKey, p.driver); err != nil {
		r.wrong(nameKey, driverKey, always, "names the store "+name+", and this version of Havn has no driver "+p.driver, "another store, or a version of Havn that has it")
		return
	}
	only := config.Condition{Key: driverKey, Value: p.driver}
	var names []string
	for _, o := range p.options {
		names = append(names, o.name)
	}
	found, wrong := parseOptions(text, name, names)
	for _, w := range wrong {
		r.wrong(configKey, "", only, w, "`key: value` pairs, joined by commas; what has a comma in it goes into Havn's own configuration, with "+driverKey)
	}
	r.give(nameKey, driverKey, always, p.driver)
	if len(wrong) > 0 {
		return
	}
	b := &blobs{reading: r, provider: p, options: found, only: only}
	b.take()
}

// providerConfig answers the pairs. They alone may go over several lines, because Harbor trims them.
func (r *reading) providerConfig() string {
	if e, ok := r.entries[configKey]; ok {
		return e.value
	}
	return ""
}

// take gives what maps one to one, lets the driver read the rest, and says what nothing does.
func (b *blobs) take() {
	for _, o := range b.provider.options {
		if value := b.options[o.name]; value != "" && o.havn != "" {
			b.set(o.havn, value)
		}
	}
	if b.read != nil {
		b.read(b)
	}
	for _, o := range b.provider.options {
		if value, there := b.options[o.name]; there && value != "" && o.text != "" {
			b.adds(configKey, "%s: %s", o.name, o.text)
		}
	}
	if len(b.options) == 0 {
		b.says(configKey, Same, "is empty")
	}
}

// set gives a value from the pairs.
func (b *blobs) set(havn, value string) {
	b.give(configKey, havn, b.only, value)
}

// bad says that an option can't be used as it is; another source may set the key instead.
func (b *blobs) bad(havn, text, allowed string) {
	b.wrong(configKey, havn, b.only, text, allowed)
}

// flag answers an option that is true or false.
func (b *blobs) flag(name string, fallback bool) bool {
	switch strings.ToLower(b.options[name]) {
	case "":
		return fallback
	case "true", "1", "t", "yes", "on":
		return true
	case "false", "0", "f", "no", "off":
		return false
	}
	b.bad("", name+" is neither true nor false", "true or false")
	delete(b.options, name) // it is asked for again
	return fallback
}

// prefix gives what stands before every object's name.
func (b *blobs) prefix(name string) {
	if p := strings.Trim(b.options[name], "/"); p != "" {
		b.set("storage.prefix", p)
	}
}

const (
	ownCuts   = "Havn cuts blobs itself"
	unneeded  = "not needed"
	untrusted = "Havn checks certificates: name the authority in "
)

func filesystemProvider() provider {
	return provider{driver: string(config.Filesystem), options: []option{{name: "rootdirectory"}, {name: "maxthreads", text: unneeded}}, also: "`storage.filesystem.path`; `/storage`, the default, is Harbor's volume, `/data/registry`", read: func(b *blobs) {
		const inside, outside = "/storage", "/data/registry" // the volume that Harbor's compose file mounts, in its container and on the host
		root := strings.TrimRight(b.options["rootdirectory"], "/")
		from := configKey
		switch {
		case root == "" || root == inside:
			root, from = outside, nameKey
			b.adds(nameKey, "the folder is that of Harbor's volume, %s; several nodes need one that they share", outside)
		case strings.HasPrefix(root, inside+"/"):
			root = outside + strings.TrimPrefix(root, inside)
		default:
			b.warns(configKey, "rootdirectory is a path in Harbor's container: see that it is the same on this machine; several nodes need one that they share")
		}
		b.give(from, "storage.filesystem.path", b.only, root)
	}}
}

func swiftProvider() provider {
	return provider{driver: "swift", read: readSwift, also: "`storage.swift.auth_version`, `storage.prefix`", options: []option{
		{name: "authurl", havn: "storage.swift.auth_url"},
		{name: "username", havn: "storage.swift.username"},
		{name: "password", havn: "storage.swift.password"},
		{name: "container", havn: "storage.swift.container"},
		{name: "tenant", havn: "storage.swift.tenant"},
		{name: "domain", havn: "storage.swift.domain"},
		{name: "region", havn: "storage.swift.region"},
		{name: "secretkey", havn: "storage.swift.temp_url_key"},
		{name: "authversion"},
		{name: "prefix"},
		{name: "tenantid"},
		{name: "domainid"},
		{name: "tenantdomain"},
		{name: "tenantdomainid"},
		{name: "trustid"},
		{name: "endpointtype"},
		{name: "insecureskipverify"},
		{name: "chunksize", text: ownCuts},
		{name: "accesskey", text: unneeded},
		{name: "tempurlcontainerkey", text: unneeded},
		{name: "tempurlmethods", text: unneeded},
	}}
}

func readSwift(b *blobs) {
	if version := b.options["authversion"]; version != "" && version != "0" {
		b.set("storage.swift.auth_version", version)
	}
	b.prefix("prefix")
	if b.options["tenantid"] != "" && b.options["tenant"] == "" {
		b.bad("storage.swift.tenant", "tenantid is given without tenant, and Havn takes names", "tenant: the project's name")
	}
	domain := b.options["domain"]
	if id := b.options["domainid"]; id != "" && domain == "" && id != "default" {
		b.bad("storage.swift.domain", "domainid is given without domain, and Havn takes names", "domain: the domain's name")
	}
	if other := b.options["tenantdomain"]; other != "" && !strings.EqualFold(other, domain) && (domain != "" || !strings.EqualFold(other, "default")) {
		b.bad("storage.swift.domain", "tenantdomain is another than domain, and Havn has one for the user and the project", "a user in the project's domain")
	}
	if id := b.options["tenantdomainid"]; id != "" && b.options["tenantdomain"] == "" && id != b.options["domainid"] && id != "default" {
		b.bad("storage.swift.domain", "tenantdomainid is given, and Havn takes one domain by name, for the user and the project", "domain: its name")
	}
	if b.options["trustid"] != "" {
		b.bad("storage.swift.tenant", "trustid is given, and Havn logs in with a user and a project", "tenant: the project's name")
	}
	if kind := b.options["endpointtype"]; kind != "" && !strings.HasPrefix(kind, "public") {
		b.warns(configKey, "endpointtype: Havn takes the public address of the catalogue")
	}
	if b.flag("insecureskipverify", false) {
		b.warns(configKey, "insecureskipverify: "+untrusted+"storage.swift.ca_file")
	}
}
