package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Live is what administrators may change while Havn runs, under the names of Harbor's configurations. Times are in the unit that the name's doc tells.
type Live struct {
	AuthMode                   AuthMode
	PrimaryAuthMode            bool
	SelfRegistration           bool
	ProjectCreationRestriction CreationRestriction
	ReadOnly                   bool
	SessionTimeout             int // minutes
	TokenExpiration            int // minutes
	RobotTokenDuration         int // days
	RobotNamePrefix            string
	StoragePerProject          int64 // bytes, -1 for no limit
	QuotaPerProject            bool
	BannerMessage              string

	NotificationEnable         bool
	AuditLogForwardEndpoint    string
	AuditLogRetentionDays      int // 0: for ever
	SkipAuditLogDatabase       bool
	PullAuditLogDisable        bool
	PullCountUpdateDisable     bool
	PullTimeUpdateDisable      bool
	ScannerSkipUpdatePullTime  bool
	DisabledAuditLogEventTypes string

	LDAP LDAP
	OIDC OIDC
}

// AuthMode says who is asked for passwords of users that are not Havn's own, by the words of Harbor.
type AuthMode string

// The modes.
const (
	AuthLocal AuthMode = "db_auth"
	AuthLDAP  AuthMode = "ldap_auth"
	AuthOIDC  AuthMode = "oidc_auth"
)

// CreationRestriction says who may make projects.
type CreationRestriction string

// Who may make projects.
const (
	EveryoneCreates CreationRestriction = "everyone"
	AdminsCreate    CreationRestriction = "adminonly"
)

// LDAP is a directory. Scopes: 0 the base alone, 1 one level below it, 2 the whole tree.
type LDAP struct {
	URL            string
	SearchDN       string
	SearchPassword Secret
	BaseDN         string
	Filter         string
	UID            string
	Scope          int
	Timeout        int // seconds
	VerifyCert     bool
	StartTLS       bool
	CACertificate  string

	GroupBaseDN              string
	GroupSearchFilter        string
	GroupAttributeName       string
	GroupSearchScope         int
	GroupAdminDN             string
	GroupMembershipAttribute string
	GroupAttachParallel      bool
}

// OIDC is an identity provider.
type OIDC struct {
	Name               string
	Endpoint           string
	ClientID           string
	ClientSecret       Secret
	GroupsClaim        string
	AdminGroup         string
	GroupFilter        string
	Scope              string
	UserClaim          string
	VerifyCert         bool
	AutoOnboard        bool
	ExtraRedirectParms string
	Logout             bool
}

// livePrefix is the section of the file in which these keys are fixed.
const livePrefix = "settings."

// LiveKey describes a key of Live.
type LiveKey struct {
	Name    string // without the section
	Kind    LiveKind
	Secret  bool
	Doc     string
	Allowed string
}

// LiveKind is the type of a key's value in JSON.
type LiveKind int

// The kinds.
const (
	LiveText LiveKind = iota
	LiveNumber
	LiveBool
)

// LiveKeys answers all keys of Live, in the order of the reference.
func LiveKeys() []LiveKey { return slices.Clone(liveKeysOnce()) }

var liveKeysOnce = sync.OnceValue(func() []LiveKey {
	all, defaults := make([]LiveKey, 0, len(liveTable)), Default()
	for _, k := range liveTable {
		kind := LiveText
		switch k.show(defaults).(type) {
		case int64:
			kind = LiveNumber
		case bool:
			kind = LiveBool
		}
		all = append(all, LiveKey{Name: strings.TrimPrefix(k.path, livePrefix), Kind: kind, Secret: k.secret, Doc: k.doc, Allowed: k.allowed})
	}
	return all
})

// liveTable is made once: it is asked with each change and each look.
var liveTable = liveKeys()

func liveKey(name string) (key, bool) {
	i := slices.IndexFunc(liveTable, func(k key) bool { return k.path == livePrefix+name })
	if i < 0 {
		return key{}, false
	}
	return liveTable[i], true
}

// Set sets a key from its text. The error says what is allowed and does not hold a secret.
func (l *Live) Set(name, text string) error {
	k, known := liveKey(name)
	if !known {
		return fmt.Errorf("is an unknown setting")
	}
	c := &Config{Live: *l}
	if err := k.set(c, value{text}); err != nil {
		return fmt.Errorf("%w; allowed: %s", err, k.allowed)
	}
	*l = c.Live
	return nil
}

// Text answers a key's value as Set reads it, secrets included; "" for a key that is unknown.
func (l *Live) Text(name string) string {
	k, known := liveKey(name)
	if !known {
		return ""
	}
	c := &Config{Live: *l}
	if k.secret {
		return k.reveal(c)
	}
	switch v := k.show(c).(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return v
	}
	return ""
}

// LiveFixed reports whether a key of Live is set by the file, the environment or a flag, and so can't be changed while Havn runs.
func (c *Config) LiveFixed(name string) bool { return c.origins[livePrefix+name].rank > rankBase }

// LiveFirst reports whether another program's file gives a key of Live: such a value counts until somebody changes it.
func (c *Config) LiveFirst(name string) bool { return c.origins[livePrefix+name].rank == rankBase }
