package config

import (
	"regexp"
	"sort"
	"strings"
)

// fileVariable names the file in the environment; it is not a key, because a file can't name itself.
const fileVariable = "HAVN_CONFIG"

// HarborVariable names Harbor's file in the environment. What reads it is another package, which answers Source.Base.
const HarborVariable = "HAVN_HARBOR_CFG"

// The variables of the commands that ask a server: where it is, who asks, with which token, and whose certificates are trusted. They are no keys of a server's configuration.
const (
	ServerVariable = "HAVN_SERVER"
	UserVariable   = "HAVN_USER"
	TokenVariable  = "HAVN_TOKEN"
	CAVariable     = "HAVN_CA_FILE"
)

// isClients reports whether a variable is for the commands that ask a server.
func isClients(name string) bool {
	return name == ServerVariable || name == UserVariable || name == TokenVariable || name == CAVariable
}

// ourServices are the variables that Kubernetes sets in every pod for a service called havn.
var ourServices = regexp.MustCompile(`^HAVN_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// otherServices are those for a service whose name begins with havn-: HAVN_METRICS_SERVICE_HOST and the like.
var otherServices = regexp.MustCompile(`^HAVN_[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// injected reports whether a variable is Kubernetes's and not meant for us. HAVN_PORT is, if it is a URL: a number there is somebody's who means us to listen at it.
func injected(name, text string) bool {
	if ourServices.MatchString(name) || otherServices.MatchString(name) {
		return true
	}
	scheme, _, ok := strings.Cut(text, "://")
	return ok && strings.HasSuffix(name, "_PORT") && (scheme == "tcp" || scheme == "udp" || scheme == "sctp")
}

// variables answers the HAVN_ variables that have a value, and their names in order. An empty variable counts as not set, because
// container tools can't take one away.
func variables(environ []string) (map[string]string, []string) {
	set := map[string]string{}
	var names []string
	for _, pair := range environ {
		name, text, ok := strings.Cut(pair, "=")
		if !ok || text == "" || !strings.HasPrefix(name, "HAVN_") {
			continue
		}
		if _, again := set[name]; !again {
			names = append(names, name)
		}
		set[name] = text
	}
	sort.Strings(names)
	return set, names
}

// commas splits a list as it is written in a variable or a flag.
func commas(text string) value {
	v := value{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			v = append(v, part)
		}
	}
	return v
}
