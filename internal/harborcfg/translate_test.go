package harborcfg

import (
	"fmt"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

// anything is a Havn with every key, in which every value is right.
func anything(string, ...string) (bool, error) { return true, nil }

func nowhere(string) bool { return false }

// given answers what a file becomes, one key a line, without its conditions; what is wrong begins with "!".
func given(t *testing.T, text string, accepts func(string, ...string) (bool, error)) string {
	t.Helper()
	f, err := translate("harbor.cfg", []byte(text), accepts, nowhere)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var lines []string
	for _, g := range f.Given {
		if g.Wrong != "" {
			lines = append(lines, "! "+g.Where+": "+g.Wrong)
			continue
		}
		lines = append(lines, g.Key+"="+strings.Join(g.Value, ","))
	}
	return strings.Join(lines, "\n")
}

func TestEachKeyBecomesHavns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"_version = 1.5.0":                                                  "",
		"hostname = registry.example.com":                                   "http.public_url=http://registry.example.com http.addr=:80",
		"hostname = registry.example.com\nui_url_protocol = http":           "http.public_url=http://registry.example.com http.addr=:80",
		"hostname = registry.example.com:8080":                              "http.public_url=http://registry.example.com:8080 http.addr=:8080",
		"hostname = [fd00::1]:8080":                                         "http.public_url=http://[fd00::1]:8080 http.addr=:8080",
		"ui_url_protocol = https\nssl_cert = /a.crt\nssl_cert_key = /a.key": "http.addr=:443 http.tls.certificate=/a.crt http.tls.key=/a.key",
		"ssl_cert = /a.crt\nssl_cert_key = /a.key":                          "",
		"harbor_admin_password = a=b#c;d%e":                                 "admin.password=a=b#c;d%e",
		"harbor_admin_password =":                                           "",
		"token_expiration = 45":                                             "settings.token_expiration=45",
		"db_host = mysql\ndb_port = 3306\ndb_user = root\ndb_password = x":  "",
		"db_host = db\ndb_user = registry\ndb_password = x":                 "database.engine=mysql database.hosts=db:3306 database.user=registry database.password=x",
		"db_host = fd00::1\ndb_port = 3307":                                 "database.engine=mysql database.hosts=[fd00::1]:3307",
		"db_host = [fd00::1]":                                               "database.engine=mysql database.hosts=[fd00::1]:3306",
		"_version = 1.5.0\ndb_host = db":                                    "database.engine=mysql database.hosts=db:3306",
		"_version = 1.6.0\ndb_host = db":                                    "database.engine=postgres database.hosts=db:5432",
		"_version = 1.7.0\ndb_host = postgresql\ndb_user = u":               "",
		"redis_url = redis:6379":                                            "",
		"redis_url =":                                                       "",
		"redis_url = 10.0.0.1:6379":                                         "redis.addrs=10.0.0.1:6379",
		"redis_url = r:6379,100,pass word,3":                                "redis.addrs=r:6379 redis.password=pass word",
		"redis_url = r:6379, 100, , 0":                                      "redis.addrs=r:6379",
		"redis_url = r:6379,100":                                            "redis.addrs=r:6379",
		"redis_url = redis://r:6379":                                        "redis.addrs=redis://r:6379",
		"redis_host = r\nredis_port = 6380\nredis_password = x":             "redis.addrs=r:6380 redis.password=x",
		"redis_host = redis\nredis_password =":                              "",
		"registry_custom_ca_bundle = /ca.pem":                               "outbound.ca_file=/ca.pem",
		"registry_custom_ca_bundle =":                                       "",
		"auth_mode = db_auth":                                               "settings.auth_mode=db_auth",
		"auth_mode = db_auth\nldap_url = ldaps://ldap.mydomain.com\nuaa_endpoint = uaa.mydomain.org\nuaa_ca_cert = /path/to/ca.pem":                          "settings.auth_mode=db_auth",
		"auth_mode = ldap_auth\nldap_url = ldap://10.2.208.11:389\nldap_scope = 3\nldap_verify_cert = false\nldap_filter =":                                  "settings.auth_mode=ldap_auth settings.ldap_url=ldap://10.2.208.11:389 settings.ldap_scope=2 settings.ldap_verify_cert=false",
		"auth_mode = ldap_auth\nldap_group_gid = sAMAccountName\nldap_group_scope = 1\nldap_search_pwd = a,b=c":                                              "settings.auth_mode=ldap_auth settings.ldap_search_password=a,b=c settings.ldap_group_attribute_name=sAMAccountName settings.ldap_group_search_scope=1",
		"auth_mode = uaa_auth\nuaa_endpoint = uaa.example.com\nuaa_clientid = id\nuaa_clientsecret = secret\nuaa_verify_cert = False\nuaa_ca_cert = /ca.pem": "outbound.ca_file=/ca.pem settings.auth_mode=oidc_auth settings.oidc_endpoint=https://uaa.example.com settings.oidc_client_id=id settings.oidc_client_secret=secret settings.oidc_verify_cert=false",
		"self_registration = on":                   "settings.self_registration=true",
		"self_registration = off":                  "settings.self_registration=false",
		"project_creation_restriction = adminonly": "settings.project_creation_restriction=adminonly",
	} {
		if got := given(t, text, anything); got != strings.Join(wantLines(want), "\n") {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

// wantLines splits at the spaces before a key.
func wantLines(want string) []string {
	var lines []string
	for _, word := range strings.Fields(want) {
		if strings.Contains(word, "=") || len(lines) == 0 {
			lines = append(lines, word)
			continue
		}
		lines[len(lines)-1] += " " + word
	}
	return lines
}

func TestEachStoreBecomesHavns(t *testing.T) {
	t.Parallel()
	for pairs, want := range map[string]string{
		"filesystem|":                                         "storage.driver=filesystem storage.filesystem.path=/data/registry",
		"filesystem|rootdirectory: /storage":                  "storage.driver=filesystem storage.filesystem.path=/data/registry",
		"filesystem|rootdirectory: /storage/other/":           "storage.driver=filesystem storage.filesystem.path=/data/registry/other",
		"filesystem|rootdirectory: /mnt/nfs, maxthreads: 100": "storage.driver=filesystem storage.filesystem.path=/mnt/nfs",
		"swift|authurl: http://10.32.3.70:7480/auth/v1, username: registry:swift, password: x, container: registry.example.com":                                         "storage.driver=swift storage.swift.auth_url=http://10.32.3.70:7480/auth/v1 storage.swift.username=registry:swift storage.swift.password=x storage.swift.container=registry.example.com",
		"swift|username: u,password: p,authurl: http://192.168.1.217/identity/v3,tenant: admin,domain: default,region: RegionOne,container: docker_images":              "storage.driver=swift storage.swift.auth_url=http://192.168.1.217/identity/v3 storage.swift.username=u storage.swift.password=p storage.swift.container=docker_images storage.swift.tenant=admin storage.swift.domain=default storage.swift.region=RegionOne",
		"swift|secretkey: t, authversion: 3, prefix: /a/b/, chunksize: 5, tempurlcontainerkey: true, domainid: default, tenantdomain: Default, tenantdomainid: default": "storage.driver=swift storage.swift.temp_url_key=t storage.swift.auth_version=3 storage.prefix=a/b",
		"swift|tenantid: 1": "storage.driver=swift !harbor.cfg:2 registry_storage_provider_config: tenantid is given without tenant, and Havn takes names",
		"swift|domainid: 1": "storage.driver=swift !harbor.cfg:2 registry_storage_provider_config: domainid is given without domain, and Havn takes names",
		"swift|tenant: t, tenantid: 1, domain: d, domainid: 2, tenantdomain: D, authversion: 0":                              "storage.driver=swift storage.swift.tenant=t storage.swift.domain=d",
		"s3|accesskey: a, secretkey: b/c+d=, region: eu-central-1, bucket: registry":                                         "storage.driver=s3 storage.s3.access_key=a storage.s3.secret_key=b/c+d= storage.s3.region=eu-central-1 storage.s3.bucket=registry",
		"s3aws|region: r, bucket: b, regionendpoint: http://10.0.0.1:7480":                                                   "storage.driver=s3 storage.s3.region=r storage.s3.bucket=b storage.s3.endpoint=http://10.0.0.1:7480",
		"s3|region: r, bucket: b, regionendpoint: rgw:7480, secure: false, rootdirectory: /registry, storageclass: STANDARD": "storage.driver=s3 storage.s3.region=r storage.s3.bucket=b storage.s3.endpoint=http://rgw:7480 storage.prefix=registry",
		"s3|bucket: b, regionendpoint: rgw, encrypt: true, storageclass: reduced_redundancy, chunksize: 5242880":             "storage.driver=s3 storage.s3.bucket=b storage.s3.endpoint=https://rgw storage.s3.sse=AES256 storage.s3.storage_class=REDUCED_REDUNDANCY",
		"s3|bucket: b, encrypt: true, keyid: k":                                                                              "storage.driver=s3 storage.s3.bucket=b storage.s3.sse=aws:kms storage.s3.sse_kms_key=k",
		"s3|bucket: b, encrypt: perhaps":                                                                                     "storage.driver=s3 storage.s3.bucket=b !harbor.cfg:2 registry_storage_provider_config: encrypt is neither true nor false",
		"azure|accountname: n, accountkey: a2V5, container: c":                                                               "storage.driver=azure storage.azure.account=n storage.azure.key=a2V5 storage.azure.container=c",
		"azure|accountname: n, accountkey: a2V5, container: c, realm: core.chinacloudapi.cn":                                 "storage.driver=azure storage.azure.account=n storage.azure.key=a2V5 storage.azure.container=c storage.azure.endpoint=https://n.blob.core.chinacloudapi.cn",
		"gcs|bucket: b, keyfile: /k.json, rootdirectory: /r, chunksize: 5":                                                   "storage.driver=gcs storage.s3.bucket=b storage.prefix=r",
		"oss|accesskeyid: a, accesskeysecret: s, region: oss-cn-beijing, bucket: b":                                          "storage.driver=oss storage.s3.access_key=a storage.s3.secret_key=s storage.s3.bucket=b storage.s3.region=cn-beijing",
		"oss|region: oss-cn-beijing, bucket: b, internal: true, encrypt: true":                                               "storage.driver=oss storage.s3.bucket=b storage.s3.region=cn-beijing storage.s3.endpoint=https://s3.oss-cn-beijing-internal.aliyuncs.com storage.s3.sse=AES256",
		"oss|region: oss-cn-beijing, bucket: b, endpoint: b.oss-cn-beijing.aliyuncs.com, secure: false":                      "storage.driver=oss storage.s3.bucket=b storage.s3.region=cn-beijing storage.s3.endpoint=http://s3.oss-cn-beijing.aliyuncs.com",
		"rados|pool: p":       "!harbor.cfg:1 registry_storage_provider_name: is no store that Harbor 1.5 knows",
		"swift|password: a,b": "!harbor.cfg:2 registry_storage_provider_config: its part 2 is not `key: value`: a value can't hold a comma, in Harbor neither storage.driver=swift",
	} {
		name, value, _ := strings.Cut(pairs, "|")
		text := nameKey + " = " + name + "\n" + configKey + " = " + value
		got := strings.ReplaceAll(given(t, text, anything), "\n", " ")
		if got = strings.ReplaceAll(got, "! ", "!"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", pairs, got, want)
		}
	}
}

func TestWhatHarborWouldMisreadOrHavnCannotUseIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hostname = reg.mydomain.com":                                      "is still that of Harbor's sample",
		"ui_url_protocol = HTTPS":                                          "is neither http nor https",
		"ui_url_protocol = https\nhostname = x":                            "harbor.cfg ssl_cert: is not set, and ui_url_protocol is https",
		"ui_url_protocol = https\nssl_cert =\nssl_cert_key = k":            "harbor.cfg:2 ssl_cert: is not set, and ui_url_protocol is https",
		"hostname = a\n  b":                                                "harbor.cfg:1 hostname: goes over several lines",
		"token_expiration = half an hour":                                  "harbor.cfg:1 token_expiration: is not a number of minutes",
		"token_expiration = 0":                                             "is not a number of minutes",
		"auth_mode = ldap":                                                 "is none of Harbor's",
		"project_creation_restriction = nobody":                            "is none of Harbor's",
		"db_password = hush":                                               "harbor.cfg:1 db_password: is set, and db_host is not",
		"redis_url = host:6379;100;hush":                                   "does not begin with host:port",
		"redis_url = hush":                                                 "does not begin with host:port",
		"redis_url = h:1,1,hu,sh,0":                                        "has more than four parts",
		configKey + " = password: hush":                                    nameKey + " is not",
		nameKey + " = hush":                                                "is no store that Harbor 1.5 knows",
		nameKey + " = swift\n" + configKey + " = password: x,hush: y":      "its pair 2 is no option",
		nameKey + " = swift\n" + configKey + " = trustid: hush, tenant: t": "trustid is given",
	} {
		got := given(t, text, anything)
		if !strings.Contains(got, want) || strings.Contains(got, "hush") {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestWhatThisHavnDoesNotHaveIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	small := func(key string, value ...string) (bool, error) {
		switch {
		case strings.HasPrefix(key, "redis."):
			return false, nil
		case key == driverKey && value[0] != "filesystem":
			return true, fmt.Errorf("%q is not one of them", value[0])
		}
		return true, nil
	}
	text := "redis_url = 10.0.0.1:6379,100,hush,0\n" + nameKey + " = swift\n" + configKey + " = password: hush"
	if got, want := given(t, text, small), "! harbor.cfg:2 "+nameKey+": names the store swift, and this version of Havn has no driver swift"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	f, err := translate("harbor.cfg", []byte(text), small, nowhere)
	if err != nil || f.Rows[0].Fate != Later || f.Rows[0].Text != "this version of Havn has no redis.addrs" || f.Rows[1].Fate != Wrong {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestEveryKeyOfTheFileHasARow(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for name := range table() {
		text.WriteString(name + " =\n")
	}
	text.WriteString("db_hots = x\nhttp addr hush = x\n")
	f, err := translate("harbor.cfg", []byte(text.String()), anything, nowhere)
	if err != nil || len(f.Rows) != len(table())+2 {
		t.Fatalf("%v, %d rows for %d keys", err, len(f.Rows), len(table())+2)
	}
	for _, row := range f.Rows[:len(f.Rows)-2] {
		if row.Text == "" || row.Fate == "" || row.Fate == Wrong || row.Fate == Unknown || len(row.Havn) > 0 && row.Key != "ui_url_protocol" {
			t.Errorf("an empty %s: %+v", row.Key, row)
		}
	}
	if typo := f.Rows[len(f.Rows)-2]; typo.Fate != Unknown || !typo.Attention || !strings.Contains(typo.Text, "did you mean db_host?") {
		t.Errorf("%+v", typo)
	}
	if odd := f.Rows[len(f.Rows)-1]; strings.Contains(fmt.Sprint(odd), "hush") {
		t.Errorf("what is no word is repeated: %+v", odd)
	}
}

func TestTheSecretOfHarborsNodesIsThatOfHavns(t *testing.T) {
	t.Parallel()
	there := func(path string) bool { return path == "/data/secretkey" }
	for text, want := range map[string]string{
		"secretkey_path = /data\ndb_host = db":    "cluster.secret_file",
		"secretkey_path = /data/\ndb_host = db":   "cluster.secret_file",
		"secretkey_path = /other\ndb_host = db":   "database.hosts",
		"secretkey_path = /data\ndb_host = mysql": "",
	} {
		f, err := translate("harbor.cfg", []byte(text), anything, there)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for _, g := range f.Given {
			last = g.Key
		}
		if last != want {
			t.Errorf("%q: %s, want %s", text, last, want)
		}
	}
}

func TestASecondLineOfAKeyIsShown(t *testing.T) {
	t.Parallel()
	f, err := Parse("harbor.cfg", []byte("token_expiration = 30\nself_registration = off\ntoken_expiration = 60\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Warning("harbor.cfg:3 token_expiration: it is set in line 1 too, and the last one counts, as in Harbor")
	if w := f.Warnings(); len(w) != 1 || w[0] != want {
		t.Errorf("%q, want %q", w, want)
	}
}
