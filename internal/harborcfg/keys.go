package harborcfg

import "slices"

// Fate is what became of a key of the file.
type Fate string

// The fates.
const (
	Used       Fate = "used"       // it became one or several keys of Havn
	Same       Fate = "same"       // there is nothing to set: Havn does so anyway
	Later      Fate = "later"      // it follows with what this Havn does not have yet
	Ignored    Fate = "ignored"    // it has no meaning in Havn
	Unknown    Fate = "unknown"    // it is no key of Harbor's
	Wrong      Fate = "wrong"      // its value can't be used
	Overridden Fate = "overridden" // Havn's own file, environment or flags say otherwise
)

// key is one row of the table: a key of Harbor's, and what becomes of it.
type key struct {
	names   []string // several share a row
	first   bool     // Harbor takes it at its first start only; from then on its console's value counts
	fate    Fate
	havn    []string // with Used: the keys of Havn that come of it
	text    string   // what became of it
	version string   // the releases of Harbor that have it, "" for 1.5
}

const (
	clair = "follows with vulnerability scanning"
	older = "before 1.5"
	newer = "1.6, 1.7"
)

// keys is the table, in the order of Harbor's own file.
func keys() []key {
	return slices.Concat(generalKeys(), firstStartKeys(), storeKeys(), otherKeys())
}

func generalKeys() []key {
	return []key{
		{names: []string{"_version"}, fate: Used, text: "says which Harbor the file is for: from 1.6 on the database is PostgreSQL"},
		{names: []string{"hostname"}, fate: Used, havn: []string{"http.public_url", "http.addr"}, text: "what clients call the registry; Havn listens at its port on all addresses, or at 80 or 443 as Harbor does"},
		{names: []string{"ui_url_protocol"}, fate: Used, havn: []string{"http.public_url", "http.addr"}, text: "its scheme; with https, nothing listens at port 80 to send browsers on"},
		{names: []string{"max_job_workers"}, fate: Ignored, text: "Havn bounds its background work by itself"},
		{names: []string{"customize_crt"}, fate: Ignored, text: "Havn makes the key of its tokens itself, at the first start, and keeps it in the database"},
		{names: []string{"ssl_cert"}, fate: Used, havn: []string{"http.tls.certificate"}, text: "the certificate, with https"},
		{names: []string{"ssl_cert_key"}, fate: Used, havn: []string{"http.tls.key"}, text: "its key, with https"},
		{names: []string{"secretkey_path"}, fate: Ignored, text: "its file `secretkey` becomes `cluster.secret` if the database is one that nodes share and the file is there: the secret that all nodes need"},
		{names: []string{"admiral_url"}, fate: Ignored, text: "Havn has no link to Admiral"},
		{names: []string{"log_rotate_count", "log_rotate_size"}, fate: Ignored, text: "Havn writes its log to standard error, and systemd's journal or the container's log driver keeps and rotates it"},
		{names: []string{"http_proxy", "https_proxy", "no_proxy"}, fate: Ignored, text: "the proxy of Clair alone, in Harbor too; for Havn's own connections there are `outbound.proxy` and `outbound.no_proxy`"},
	}
}

func firstStartKeys() []key {
	all := []key{
		{names: []string{"email_identity", "email_server", "email_server_port", "email_username", "email_password", "email_from", "email_ssl", "email_insecure"}, fate: Ignored, text: "Havn sends no mail"},
		{names: []string{"harbor_admin_password"}, fate: Used, havn: []string{"admin.password"}, text: "the password of `admin`, for Havn's first start"},
		{names: []string{"auth_mode"}, fate: Used, havn: []string{"settings.auth_mode"}, text: "who knows the passwords of users that are not Havn's own; `uaa_auth` becomes `oidc_auth`: register `/c/oidc/callback` of the registry there"},
		{names: []string{"ldap_url"}, fate: Used, havn: []string{"settings.ldap_url"}, text: "the directory's servers, with `auth_mode = ldap_auth`"},
		{names: []string{"ldap_searchdn"}, fate: Used, havn: []string{"settings.ldap_search_dn"}, text: "the account that looks for users and groups"},
		{names: []string{"ldap_search_pwd"}, fate: Used, havn: []string{"settings.ldap_search_password"}, text: "that account's password"},
		{names: []string{"ldap_basedn"}, fate: Used, havn: []string{"settings.ldap_base_dn"}, text: "below it are the users"},
		{names: []string{"ldap_filter"}, fate: Used, havn: []string{"settings.ldap_filter"}, text: "which entries are users who may log in"},
		{names: []string{"ldap_uid"}, fate: Used, havn: []string{"settings.ldap_uid"}, text: "the attribute that people log in with"},
		{names: []string{"ldap_scope"}, fate: Used, havn: []string{"settings.ldap_scope"}, text: "how deep users are looked for; 3, as older Harbors numbered, is the whole tree"},
		{names: []string{"ldap_timeout"}, fate: Used, havn: []string{"settings.ldap_timeout"}, text: "seconds that the directory has for each step"},
		{names: []string{"ldap_verify_cert"}, fate: Used, havn: []string{"settings.ldap_verify_cert"}, text: "whether the directory's certificate is checked"},
		{names: []string{"ldap_group_basedn"}, fate: Used, havn: []string{"settings.ldap_group_base_dn"}, text: "below it are the groups"},
		{names: []string{"ldap_group_filter"}, fate: Used, havn: []string{"settings.ldap_group_search_filter"}, text: "which entries are groups"},
		{names: []string{"ldap_group_gid"}, fate: Used, havn: []string{"settings.ldap_group_attribute_name"}, text: "the attribute that holds a group's name"},
		{names: []string{"ldap_group_scope"}, fate: Used, havn: []string{"settings.ldap_group_search_scope"}, text: "how deep groups are looked for; 3, as older Harbors numbered, is the whole tree"},
		{names: []string{"self_registration"}, fate: Used, havn: []string{"settings.self_registration"}, text: "whether anybody may make an account of his own"},
		{names: []string{"token_expiration"}, fate: Used, havn: []string{"settings.token_expiration"}, text: "how many minutes tokens live"},
		{names: []string{"project_creation_restriction"}, fate: Used, havn: []string{"settings.project_creation_restriction"}, text: "who may make projects; pushing to one that is not there makes it for administrators alone (`projects.create_on_push`)"},
	}
	for i := range all {
		all[i].first = true
	}
	return all
}

func storeKeys() []key {
	return []key{
		{names: []string{"db_host", "db_port"}, fate: Used, havn: []string{"database.engine", "database.hosts"}, text: "the database's server; Havn needs a database of its own there (`havn`, or `database.name`) and leaves Harbor's, `registry`, alone"},
		{names: []string{"db_user"}, fate: Used, havn: []string{"database.user"}, text: "its user, who needs every right in Havn's database"},
		{names: []string{"db_password"}, fate: Used, havn: []string{"database.password"}, text: "that user's password"},
		{names: []string{"redis_url"}, fate: Used, havn: []string{"redis.addrs", "redis.password"}, text: "`host:port[,weight,password,db]`: Redis, or one node of a cluster, whose others Havn finds; it needs no weight, and its keys have a prefix instead of a numbered database"},
		{names: []string{"clair_db_host", "clair_db_password", "clair_db_port", "clair_db_username", "clair_db"}, fate: Later, text: clair},
		{names: []string{"uaa_endpoint"}, fate: Used, havn: []string{"settings.oidc_endpoint"}, text: "the identity provider, with `auth_mode = uaa_auth`: UAA speaks OIDC"},
		{names: []string{"uaa_clientid"}, fate: Used, havn: []string{"settings.oidc_client_id"}, text: "the registry's name there"},
		{names: []string{"uaa_clientsecret"}, fate: Used, havn: []string{"settings.oidc_client_secret"}, text: "the registry's secret there"},
		{names: []string{"uaa_verify_cert"}, fate: Used, havn: []string{"settings.oidc_verify_cert"}, text: "whether its certificate is checked"},
		{names: []string{"uaa_ca_cert"}, fate: Used, havn: []string{"outbound.ca_file"}, text: "authorities that are trusted beside the system's"},
		{names: []string{"registry_storage_provider_name"}, fate: Used, havn: []string{"storage.driver"}, text: "the blob store. What docker-registry has written there is neither read nor touched"},
		{names: []string{"registry_storage_provider_config"}, fate: Used, havn: []string{"storage.…"}, text: "where it is, and as whom"},
	}
}

// otherKeys are those of Harbor before and after 1.5.
func otherKeys() []key {
	return []key{
		{names: []string{"verify_remote_cert"}, fate: Later, text: "follows with replication", version: older},
		{names: []string{"use_compressed_js"}, fate: Ignored, text: "it is about Harbor's own pages", version: older},
		{names: []string{
			"crt_country", "crt_state", "crt_location", "crt_organization", "crt_organizationalunit", "crt_commonname", "crt_email",
		}, fate: Ignored, text: "Havn makes the key of its tokens itself, at the first start, and keeps it in the database", version: older},
		{names: []string{"uaa_ca_root"}, fate: Used, havn: []string{"outbound.ca_file"}, text: "authorities that are trusted beside the system's", version: older},
		{names: []string{"reload_config", "skip_reload_env_pattern"}, fate: Ignored, text: "Havn reads the file at every start", version: "1.5.1 to 1.7"},
		{names: []string{"redis_host", "redis_port", "redis_password"}, fate: Used, havn: []string{"redis.addrs", "redis.password"}, text: "Redis, as `redis_url`", version: newer},
		{names: []string{"redis_db_index"}, fate: Ignored, text: "instead of numbered databases, Havn's keys have a prefix", version: newer},
		{names: []string{"clair_updaters_interval"}, fate: Later, text: clair, version: newer},
		{names: []string{"registry_custom_ca_bundle"}, fate: Used, havn: []string{"outbound.ca_file"}, text: "authorities that are trusted beside the system's", version: newer},
	}
}

// table answers the rows by name.
func table() map[string]key {
	all := map[string]key{}
	for _, k := range keys() {
		for _, name := range k.names {
			all[name] = k
		}
	}
	return all
}

// known reports whether Harbor has such a key.
func known(name string) bool {
	_, ok := table()[name]
	return ok
}
