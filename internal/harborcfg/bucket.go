package harborcfg

import (
	"net/url"
	"strings"
)

func s3Provider() provider {
	return provider{driver: "s3", read: readS3, also: "`storage.s3.endpoint`, `.sse`, `.sse_kms_key`, `.storage_class`, `storage.prefix`", options: []option{
		{name: "accesskey", havn: "storage.s3.access_key"},
		{name: "secretkey", havn: "storage.s3.secret_key"},
		{name: "region", havn: "storage.s3.region"},
		{name: "bucket", havn: "storage.s3.bucket"},
		{name: "regionendpoint"},
		{name: "secure"},
		{name: "encrypt"},
		{name: "keyid"},
		{name: "storageclass"},
		{name: "rootdirectory"},
		{name: "v4auth"},
		{name: "skipverify"},
		{name: "chunksize", text: ownCuts + ", see storage.s3.part_size"},
		{name: "multipartcopychunksize", text: unneeded},
		{name: "multipartcopymaxconcurrency", text: unneeded},
		{name: "multipartcopythresholdsize", text: unneeded},
		{name: "useragent", text: unneeded},
		{name: "objectacl"},
	}}
}

// readS3 reads what docker-registry does with its options: an endpoint without a scheme is https unless secure is false, and takes the bucket in the path.
func readS3(b *blobs) {
	if endpoint := b.options["regionendpoint"]; endpoint != "" {
		b.set("storage.s3.endpoint", b.withScheme(endpoint))
	} else if !b.flag("secure", true) {
		b.warns(configKey, "secure: Havn calls Amazon by https")
	}
	if b.flag("encrypt", false) {
		if id := b.options["keyid"]; id != "" {
			b.set("storage.s3.sse", "aws:kms")
			b.set("storage.s3.sse_kms_key", id)
		} else {
			b.set("storage.s3.sse", "AES256")
		}
	}
	switch class := strings.ToUpper(b.options["storageclass"]); class {
	case "", "NONE", "STANDARD": // what a bucket does anyway
	default:
		b.set("storage.s3.storage_class", class)
	}
	b.prefix("rootdirectory")
	if !b.flag("v4auth", true) {
		b.warns(configKey, "v4auth: Havn signs with version 4")
	}
	if b.flag("skipverify", false) {
		b.warns(configKey, "skipverify: "+untrusted+"storage.s3.ca_file")
	}
	if acl := b.options["objectacl"]; acl != "" && acl != "private" {
		b.warns(configKey, "objectacl: Havn's objects are as private as the bucket makes them")
	}
}

// withScheme answers a host as a URL.
func (b *blobs) withScheme(host string) string {
	switch {
	case strings.Contains(host, "://"):
		return host
	case b.flag("secure", true):
		return "https://" + host
	}
	return "http://" + host
}

func azureProvider() provider {
	return provider{driver: "azure", also: "`storage.azure.endpoint`", options: []option{
		{name: "accountname", havn: "storage.azure.account"}, {name: "accountkey", havn: "storage.azure.key"}, {name: "container", havn: "storage.azure.container"}, {name: "realm"},
	}, read: func(b *blobs) {
		if realm := b.options["realm"]; realm != "" && realm != "core.windows.net" && b.options["accountname"] != "" {
			b.set("storage.azure.endpoint", "https://"+b.options["accountname"]+".blob."+realm)
		}
	}}
}

func gcsProvider() provider {
	return provider{driver: "gcs", also: "`storage.prefix`; an HMAC key takes the place of `keyfile`", options: []option{
		{name: "bucket", havn: "storage.s3.bucket"},
		{name: "rootdirectory"},
		{name: "chunksize", text: ownCuts + ", see storage.s3.part_size"},
		{name: "keyfile"},
	}, read: func(b *blobs) {
		b.prefix("rootdirectory")
		b.warns(configKey, "Havn logs in with an HMAC key, not with a service account's file: set storage.s3.access_key and storage.s3.secret_key to one, as `gcloud storage hmac create` makes it")
	}}
}

func ossProvider() provider {
	return provider{driver: "oss", read: readOSS, also: "`storage.s3.region`, `.endpoint`, `.sse`, `storage.prefix`", options: []option{
		{name: "accesskeyid", havn: "storage.s3.access_key"},
		{name: "accesskeysecret", havn: "storage.s3.secret_key"},
		{name: "bucket", havn: "storage.s3.bucket"},
		{name: "region"},
		{name: "endpoint"},
		{name: "internal"},
		{name: "secure"},
		{name: "encrypt"},
		{name: "rootdirectory"},
		{name: "chunksize", text: ownCuts + ", see storage.s3.part_size"},
	}}
}

// readOSS reads where the bucket is. docker-registry speaks OSS's own protocol, and Havn that of S3, which has host names of its own: s3.oss-… for oss-….
func readOSS(b *blobs) {
	region := strings.TrimPrefix(b.options["region"], "oss-")
	if region != "" {
		b.set("storage.s3.region", region)
	}
	endpoint := b.options["endpoint"]
	if endpoint == "" && region != "" && (b.flag("internal", false) || !b.flag("secure", true)) {
		endpoint = "oss-" + region + ".aliyuncs.com"
		if b.flag("internal", false) {
			endpoint = "oss-" + region + "-internal.aliyuncs.com"
		}
	}
	if endpoint != "" {
		endpoint = b.withScheme(endpoint)
		if u, err := url.Parse(endpoint); err == nil {
			u.Host = strings.TrimPrefix(u.Host, b.options["bucket"]+".")
			if strings.HasPrefix(u.Host, "oss-") && strings.HasSuffix(u.Host, ".aliyuncs.com") {
				u.Host = "s3." + u.Host
			}
			endpoint = u.String()
		}
		b.set("storage.s3.endpoint", endpoint)
	}
	if b.flag("encrypt", false) {
		b.set("storage.s3.sse", "AES256")
	}
	b.prefix("rootdirectory")
}
