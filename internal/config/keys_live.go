package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fixes ends the doc of the section's first key.
const fixes = " Like every key of this section it can be changed by administrators while Havn runs (`/api/v2.0/configurations`, under the name without `settings.`), on all nodes at once, unless the file or the environment sets it: then it is fixed."

func liveKeys() []key {
	return slices.Concat(liveGeneralKeys(), liveAuditKeys(), liveLDAPKeys(), liveLDAPGroupKeys(), liveOIDCKeys())
}

func liveGeneralKeys() []key {
	return []key{
		choice("settings.auth_mode", "db_auth", "Who knows the passwords of users that are not Havn's own: nobody, a directory (LDAP, Active Directory), or an identity provider (OIDC), at which they log in with their browsers. Havn's own users, robots and tokens work in every mode."+fixes,
			func(c *Config) *AuthMode { return &c.Live.AuthMode }, []string{"db_auth", "ldap_auth", "oidc_auth"}, []AuthMode{AuthLocal, AuthLDAP, AuthOIDC}, equal),
		toggle("settings.primary_auth_mode", false, "With OIDC: send browsers to the identity provider at once. For pages to come: it is kept and told, and has no effect yet.", func(c *Config) *bool { return &c.Live.PrimaryAuthMode }),
		toggle("settings.self_registration", false, "Let anybody make an account of his own. It has no effect with a directory or an identity provider.", func(c *Config) *bool { return &c.Live.SelfRegistration }),
		choice("settings.project_creation_restriction", "everyone", "Who may make projects: everyone who is logged in, or administrators only.",
			func(c *Config) *CreationRestriction { return &c.Live.ProjectCreationRestriction }, []string{"everyone", "adminonly"}, []CreationRestriction{EveryoneCreates, AdminsCreate}, equal),
		toggle("settings.read_only", false, "Let nothing be changed: pushes and deletes are refused, and all that changes something through the REST API but the settings. Pulls and logins go on.", func(c *Config) *bool { return &c.Live.ReadOnly }),
		number("settings.session_timeout", 60, "Minutes after which a browser that does nothing is logged out.", func(c *Config) *int { return &c.Live.SessionTimeout }, 1, 30*24*60),
		number("settings.token_expiration", 30, "Minutes that an access token of a docker client is good. A push that takes longer is not cut off: the upload that it began may be finished.", func(c *Config) *int { return &c.Live.TokenExpiration }, 1, 24*60),
		number("settings.robot_token_duration", 30, "Days that a robot account is good if its maker does not say.", func(c *Config) *int { return &c.Live.RobotTokenDuration }, 1, 36500),
		text("settings.robot_name_prefix", "1 to 32 of letters, digits and -_.+$@", "robot$", "Begins the name of every robot account. With another prefix, all robots log in under new names.",
			func(c *Config) *string { return &c.Live.RobotNamePrefix }, robotPrefix),
		quota("settings.storage_per_project", "What a project may have in bytes, from when it is made: the sum of its blobs, each counted once, and manifests. -1 is no limit. Projects that are there keep what they may have.",
			func(c *Config) *int64 { return &c.Live.StoragePerProject }),
		toggle("settings.quota_per_project_enable", true, "Hold projects to their quotas, and give new ones settings.storage_per_project. While it is off, what projects have is counted, and nothing is refused.", func(c *Config) *bool { return &c.Live.QuotaPerProject }),
		text("settings.banner_message", "at most 2048 bytes", "", "Told to everybody by /api/v2.0/systeminfo, for the top of a console, in the form of Harbor's configuration.",
			func(c *Config) *string { return &c.Live.BannerMessage }, upTo(2048)).empty("none"),
		toggle("settings.notification_enable", true, "Let projects have webhooks. It counts as soon as there are some; until then it is told by /api/v2.0/systeminfo.", func(c *Config) *bool { return &c.Live.NotificationEnable }),
	}
}

func liveAuditKeys() []key {
	return []key{
		text("settings.audit_log_forward_endpoint", "host:port, tcp://host:port or tls://host:port", "", "Where the lines of the audit log are sent too, by syslog (RFC 5424).",
			func(c *Config) *string { return &c.Live.AuditLogForwardEndpoint }, syslogEndpoint).like("tls://syslog.example.com:6514").empty("nowhere"),
		toggle("settings.skip_audit_log_database", false, "Do not keep the audit log in the database, but only send it on. It needs settings.audit_log_forward_endpoint.", func(c *Config) *bool { return &c.Live.SkipAuditLogDatabase }),
		number("settings.audit_log_retention_days", 0, "Days that lines of the audit log are kept in the database; 0 is for ever. Older ones are removed once an hour, in small steps. Harbor has no such setting: its schedule for this comes with the jobs.",
			func(c *Config) *int { return &c.Live.AuditLogRetentionDays }, 0, 36500),
		toggle("settings.pull_audit_log_disable", false, "Leave pulls out of the audit log.", func(c *Config) *bool { return &c.Live.PullAuditLogDisable }),
		toggle("settings.pull_count_update_disable", false, "Do not count pulls.", func(c *Config) *bool { return &c.Live.PullCountUpdateDisable }),
		toggle("settings.pull_time_update_disable", false, "Do not note when something was last pulled.", func(c *Config) *bool { return &c.Live.PullTimeUpdateDisable }),
		toggle("settings.scanner_skip_update_pulltime", false, "Do not take a scanner's pulls for pulls. It counts as soon as there are scanners.", func(c *Config) *bool { return &c.Live.ScannerSkipUpdatePullTime }),
		text("settings.disabled_audit_log_event_types", "words separated by commas", "", "Kinds of events that are left out of the audit log.",
			func(c *Config) *string { return &c.Live.DisabledAuditLogEventTypes }, upTo(4096)).like("pull_artifact,create_artifact").empty("none"),
	}
}

func liveLDAPKeys() []key {
	return []key{
		text("settings.ldap_url", "ldap://host[:port] or ldaps://host[:port], several separated by spaces; without a scheme it is ldap://, or ldaps:// with port 636", "", "The directory's servers: the first that answers is used, the others are for the time when it does not.",
			func(c *Config) *string { return &c.Live.LDAP.URL }, ldapURLs).like("ldaps://dc1.example.com ldaps://dc2.example.com").empty("none"),
		text("settings.ldap_search_dn", "a distinguished name", "", "The account that looks for users and groups.",
			func(c *Config) *string { return &c.Live.LDAP.SearchDN }, upTo(1024)).like("cn=havn,ou=services,dc=example,dc=com").empty("none: the directory is asked without logging in"),
		secret("settings.ldap_search_password", "at most 1024 bytes", "That account's password.", func(c *Config) *Secret { return &c.Live.LDAP.SearchPassword }, 1, 1024),
		text("settings.ldap_base_dn", "a distinguished name", "", "Below it are the users.", func(c *Config) *string { return &c.Live.LDAP.BaseDN }, upTo(1024)).like("ou=people,dc=example,dc=com").empty("none: a directory can't be used without"),
		text("settings.ldap_filter", "an LDAP filter", "", "Which entries are users who may log in.", func(c *Config) *string { return &c.Live.LDAP.Filter }, upTo(4096)).like("(objectClass=person)").empty("all that have the attribute of settings.ldap_uid"),
		text("settings.ldap_uid", "an attribute's name", "cn", "The attribute that holds the name which people log in with: uid, cn, mail, sAMAccountName.", func(c *Config) *string { return &c.Live.LDAP.UID }, attributeName),
		number("settings.ldap_scope", 2, "How deep users are looked for: 0 the base alone, 1 one level below it, 2 the whole tree (3 is read as 2).", func(c *Config) *int { return &c.Live.LDAP.Scope }, 0, 3),
		number("settings.ldap_timeout", 5, "Seconds that the directory has for each step.", func(c *Config) *int { return &c.Live.LDAP.Timeout }, 1, 300),
		toggle("settings.ldap_verify_cert", true, "Check the directory's certificate.", func(c *Config) *bool { return &c.Live.LDAP.VerifyCert }),
		toggle("settings.ldap_starttls", false, "With ldap://: encrypt the connection (StartTLS) before anything is said. Harbor has no such setting.", func(c *Config) *bool { return &c.Live.LDAP.StartTLS }),
		text("settings.ldap_ca_cert", "certificates as PEM", "", "Authorities of the directory's certificate, besides the system's and those of outbound.ca_file. Harbor has no such setting.",
			func(c *Config) *string { return &c.Live.LDAP.CACertificate }, certificates).empty("none"),
	}
}

func liveLDAPGroupKeys() []key {
	return []key{
		text("settings.ldap_group_base_dn", "a distinguished name", "", "Below it are the groups.", func(c *Config) *string { return &c.Live.LDAP.GroupBaseDN }, upTo(1024)).like("ou=groups,dc=example,dc=com").empty("that of settings.ldap_base_dn"),
		text("settings.ldap_group_search_filter", "an LDAP filter", "", "Which entries are groups.", func(c *Config) *string { return &c.Live.LDAP.GroupSearchFilter }, upTo(4096)).like("(objectClass=group)").empty("group, groupOfNames and groupOfUniqueNames"),
		text("settings.ldap_group_attribute_name", "an attribute's name", "cn", "The attribute that holds a group's name.", func(c *Config) *string { return &c.Live.LDAP.GroupAttributeName }, attributeName),
		number("settings.ldap_group_search_scope", 2, "How deep groups are looked for: 0 the base alone, 1 one level below it, 2 the whole tree (3 is read as 2).", func(c *Config) *int { return &c.Live.LDAP.GroupSearchScope }, 0, 3),
		text("settings.ldap_group_admin_dn", "a distinguished name", "", "The group whose members are administrators of Havn.", func(c *Config) *string { return &c.Live.LDAP.GroupAdminDN }, upTo(1024)).empty("none"),
		text("settings.ldap_group_membership_attribute", "an attribute's name", "memberof", "The attribute of users, and of groups in groups, that names the groups they are in.", func(c *Config) *string { return &c.Live.LDAP.GroupMembershipAttribute }, attributeName),
		toggle("settings.ldap_group_attach_parallel", false, "Harbor's, without effect: Havn asks for all groups at once anyway.", func(c *Config) *bool { return &c.Live.LDAP.GroupAttachParallel }),
	}
}

func liveOIDCKeys() []key {
	return []key{
		text("settings.oidc_name", "at most 128 bytes", "", "What the identity provider is called on the login page.", func(c *Config) *string { return &c.Live.OIDC.Name }, upTo(128)),
		text("settings.oidc_endpoint", "a URL with https://, or http:// for a trial", "", "The identity provider's issuer.", func(c *Config) *string { return &c.Live.OIDC.Endpoint }, issuerURL).like("https://id.example.com/realms/company").empty("none"),
		text("settings.oidc_client_id", "at most 255 bytes", "", "Havn's name at the identity provider.", func(c *Config) *string { return &c.Live.OIDC.ClientID }, upTo(255)),
		secret("settings.oidc_client_secret", "at most 1024 bytes", "Havn's secret at the identity provider.", func(c *Config) *Secret { return &c.Live.OIDC.ClientSecret }, 1, 1024),
		text("settings.oidc_groups_claim", "at most 255 bytes", "", "The claim that holds a user's groups.", func(c *Config) *string { return &c.Live.OIDC.GroupsClaim }, upTo(255)).like("groups").empty("groups are not used"),
		text("settings.oidc_admin_group", "at most 255 bytes", "", "The group whose members are administrators of Havn.", func(c *Config) *string { return &c.Live.OIDC.AdminGroup }, upTo(255)).empty("none"),
		text("settings.oidc_group_filter", "a regular expression (RE2)", "", "Which groups count.", func(c *Config) *string { return &c.Live.OIDC.GroupFilter }, expression).empty("all"),
		text("settings.oidc_scope", "words separated by commas, openid among them", "openid,profile,email", "What is asked of the identity provider. With offline_access groups are looked up again each hour without a login, and who is gone there is out here.",
			func(c *Config) *string { return &c.Live.OIDC.Scope }, oidcScope),
		text("settings.oidc_user_claim", "at most 255 bytes", "", "The claim that becomes a user's name.", func(c *Config) *string { return &c.Live.OIDC.UserClaim }, upTo(255)).empty("preferred_username, or else name"),
		toggle("settings.oidc_verify_cert", true, "Check the identity provider's certificate.", func(c *Config) *bool { return &c.Live.OIDC.VerifyCert }),
		toggle("settings.oidc_auto_onboard", false, "Make users at their first login without asking them for a name.", func(c *Config) *bool { return &c.Live.OIDC.AutoOnboard }),
		text("settings.oidc_extra_redirect_parms", "a JSON object of texts", "{}", "Parameters that are added where browsers are sent to the identity provider.", func(c *Config) *string { return &c.Live.OIDC.ExtraRedirectParms }, jsonTexts),
		toggle("settings.oidc_logout", false, "Log out at the identity provider too.", func(c *Config) *bool { return &c.Live.OIDC.Logout }),
	}
}

// mostQuota is the largest quota, in bytes.
const mostQuota = 1024 * tib

// quota is a key that takes a number of bytes, or -1 for as many as there are.
func quota(path, doc string, at func(*Config) *int64) key {
	return parsed(path, "number", fmt.Sprintf("1 to %d, or -1 (no limit)", mostQuota), "-1", doc, at, func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a whole number", s)
		}
		if n != -1 && (n < 1 || n > mostQuota) {
			return 0, fmt.Errorf("%d is out of range", n)
		}
		return n, nil
	}, func(n int64) any { return n })
}

func upTo(most int) func(string) error {
	return func(s string) error {
		if len(s) > most {
			return fmt.Errorf("has %d bytes, too many", len(s))
		}
		return nil
	}
}

func robotPrefix(s string) error {
	if s == "" || len(s) > 32 {
		return fmt.Errorf("has %d bytes", len(s))
	}
	for _, c := range s {
		if !isLetter(c) && !isDigit(c) && !strings.ContainsRune("-_.+$@", c) {
			return fmt.Errorf("%q has %q in it", s, c)
		}
	}
	return nil
}

func attributeName(s string) error {
	if s == "" || len(s) > 255 {
		return fmt.Errorf("has %d bytes", len(s))
	}
	for i, c := range s {
		if !isLetter(c) && (i == 0 || !isDigit(c) && !strings.ContainsRune("-.;", c)) {
			return fmt.Errorf("%q is not an attribute's name", s)
		}
	}
	return nil
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c rune) bool  { return c >= '0' && c <= '9' }

func ldapURLs(s string) error {
	for one := range strings.FieldsSeq(s) {
		if !strings.Contains(one, "://") {
			one = "ldap://" + one // as Harbor reads it
		}
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
			return fmt.Errorf("%q is not the URL of a directory", one)
		case u.Scheme != "ldap" && u.Scheme != "ldaps":
			return fmt.Errorf("%q is not ldap:// or ldaps://", one)
		case u.Port() != "" && !isPort(u.Port()):
			return fmt.Errorf("%q has no port that can be", one)
		}
	}
	return upTo(4096)(s)
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}
