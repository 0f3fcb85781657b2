package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// What the lab's directory holds: the tree of Harbor's HA guide, as Active Directory would show it.
const (
	LDAPBase         = "dc=example,dc=com"
	LDAPTech         = "ou=Tech," + LDAPBase // the base of what is searched
	LDAPBindDN       = "cn=admin,ou=Infra," + LDAPTech
	LDAPBindPassword = "adminpw"
	ldapRoot         = "cn=root," + LDAPBase
	ldapRootPassword = "rootpw"

	ldapMaxSize = "1073741824" // of the database's file, which grows as it is needed

	slapdPackage = "slapd"
	ldapPackages = "slapd ldap-utils"
)

// LDAPUser is a person in the lab's directory. The password is the account's name with pw behind it.
type LDAPUser struct {
	Account, First, Last string
	Disabled             bool // as Active Directory says it: userAccountControl 514. The directory itself lets them in
}

// DN answers the name of the person's entry.
func (u LDAPUser) DN() string { return "cn=" + u.First + " " + u.Last + ",ou=Users," + LDAPTech }

// Password answers the person's password.
func (u LDAPUser) Password() string { return u.Account + "pw" }

// LDAPUsers are the people in the lab's directory.
var LDAPUsers = []LDAPUser{{"alice", "Alice", "Adams", false}, {"bob", "Bob", "Brown", false}, {"carol", "Carol", "Clark", true}}

// LDAPGroupDN answers the name of a group's entry: registry-admins (alice), registry-users (alice, bob), all-staff (these two groups).
func LDAPGroupDN(name string) string { return "cn=" + name + ",ou=Groups," + LDAPTech }

// LDAPOptions say which directory is started.
type LDAPOptions struct {
	Dir string // "": a temporary directory
	// Users and Groups are a crowd beside the people of LDAPUsers: see LDAPCrowdUser and CrowdGroups.
	Users, Groups int
	Told          bool // the log tells every operation
}

// LDAP is OpenLDAP with a tree like that of an Active Directory: sAMAccountName, userPrincipalName, userAccountControl, and memberOf. Unlike there, the rule 1.2.840.113556.1.4.1941 (members of
// members) finds nothing, and nobody comes in as user@domain.
type LDAP struct {
	Daemon

	URL       string // ldap://host:port, with StartTLS; the same after a restart
	SecureURL string // ldaps://host:port
	Host      string // the host:port of URL
	CAFile    string // the certificate of its authority

	o     LDAPOptions
	place place
	a     account
	ip    string
	ports [2]int
	files authority
}

// StartLDAP starts a directory and waits until it answers.
func StartLDAP(ctx context.Context, o LDAPOptions) (*LDAP, error) {
	slapd, err := program(slapdPackage, slapdPackage)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"ldapmodify", "ldapsearch"} {
		if _, err = program(ldapPackages, name); err != nil {
			return nil, err
		}
	}
	l := &LDAP{o: o, ip: freeIP()}
	if l.a, err = accountOf("openldap", slapdPackage); err != nil {
		return nil, err
	}
	if l.place, err = newPlace(o.Dir, l.a); err != nil {
		return nil, err
	}
	l.Name, l.log, l.ready = slapdPackage, filepath.Join(l.place.dir, "log"), l.answers
	l.command = func() (*exec.Cmd, error) {
		// -d keeps it in the foreground, and says how much it tells: nothing, or connections, operations and results.
		level := "0"
		if o.Told {
			level = "256"
		}
		return l.a.command(l.place.dir, slapd, "-d", level, "-f", l.config(), "-h", l.URL+" "+l.SecureURL), nil
	}
	if err = l.start(ctx); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	return l, nil
}

func (l *LDAP) config() string { return filepath.Join(l.place.dir, "slapd.conf") }

func (l *LDAP) start(ctx context.Context) error {
	ports, err := freePorts(l.ip, len(l.ports))
	if err != nil {
		return err
	}
	copy(l.ports[:], ports)
	l.Host = net.JoinHostPort(l.ip, fmt.Sprint(l.ports[0]))
	l.URL, l.SecureURL = "ldap://"+l.Host, fmt.Sprintf("ldaps://%s:%d", l.ip, l.ports[1])
	if l.files, err = newAuthority(l.place.dir, l.a, []string{l.ip}); err != nil {
		return err
	}
	l.CAFile = l.files.ca
	data := filepath.Join(l.place.dir, "db")
	_, err = os.Stat(data)
	fresh := errors.Is(err, os.ErrNotExist)
	if _, err = l.place.sub(l.a, "db"); err != nil {
		return err
	}
	schema := filepath.Join(l.place.dir, "ad.schema")
	err = errors.Join(
		os.WriteFile(schema, []byte(activeDirectory), 0o644),
		os.WriteFile(l.config(), []byte(l.text(schema, data)), 0o600),
		os.Chown(l.config(), l.a.uid, l.a.gid))
	if err != nil {
		return fail.E(fail.Unavailable, err, "configuration of slapd")
	}
	if err = l.Start(ctx); err != nil || !fresh {
		return err
	}
	if err = l.load(ctx); err != nil || l.o.Users == 0 {
		return err
	}
	return l.crowd(ctx)
}

// load puts the tree in over the wire: slapadd would not tell the overlay that fills memberOf.
func (l *LDAP) load(ctx context.Context) error {
	return l.Change(ctx, ldapTree())
}

// Change makes changes, which are written as LDIF: an entry without a changetype is added.
func (l *LDAP) Change(ctx context.Context, ldif string) error {
	file := filepath.Join(l.place.dir, "change.ldif")
	if err := os.WriteFile(file, []byte(ldif), 0o644); err != nil {
		return fail.E(fail.Unavailable, err, "changes of slapd")
	}
	modify, err := program(ldapPackages, "ldapmodify")
	if err != nil {
		return err
	}
	return l.a.run(ctx, l.place.dir, modify, "-a", "-x", "-H", l.URL, "-D", ldapRoot, "-w", ldapRootPassword, "-f", file)
}

// activeDirectory is the schema: the attributes that clients of an Active Directory ask for, with Microsoft's own numbers. memberOf comes from the overlay.
const activeDirectory = `attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.750 NAME 'groupType' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.99999.1.1 NAME 'adUser' SUP top AUXILIARY MAY ( sAMAccountName $ userPrincipalName $ userAccountControl ) )
objectclass ( 1.3.6.1.4.1.99999.1.2 NAME 'adGroup' SUP top AUXILIARY MAY ( sAMAccountName $ groupType ) )
`

func (l *LDAP) text(schema, data string) string {
	lines := []string{
		"include /etc/ldap/schema/core.schema", "include /etc/ldap/schema/cosine.schema", "include /etc/ldap/schema/inetorgperson.schema", "include " + schema,
		"pidfile " + l.place.dir + "/pid", "argsfile " + l.place.dir + "/args",
		"modulepath /usr/lib/ldap", "moduleload back_mdb", "moduleload memberof", "moduleload refint",
		"TLSCACertificateFile " + l.files.ca, "TLSCertificateFile " + l.files.cert, "TLSCertificateKeyFile " + l.files.key,
		"database mdb", `suffix "` + LDAPBase + `"`, `rootdn "` + ldapRoot + `"`, "rootpw " + ldapRootPassword, "directory " + data, "maxsize " + ldapMaxSize, "dbnosync",
		"index objectClass,member,memberOf eq", "index uid,cn,sAMAccountName,userPrincipalName eq,sub",
		"overlay memberof", "memberof-group-oc groupOfNames", "memberof-member-ad member", "memberof-memberof-ad memberOf", "memberof-refint TRUE",
		"overlay refint", "refint_attributes member memberOf",
		"access to attrs=userPassword by anonymous auth by self write by * none",
		`access to * by dn.exact="` + LDAPBindDN + `" read by self read by * none`,
	}
	return strings.Join(lines, "\n") + "\n"
}

// ldapTree answers the entries, parents first.
func ldapTree() string {
	var b strings.Builder
	entry := func(dn string, lines ...string) {
		b.WriteString("dn: " + dn + "\n" + strings.Join(lines, "\n") + "\n\n")
	}
	entry(LDAPBase, "objectClass: domain", "dc: example")
	for _, dn := range []string{LDAPTech, "ou=Infra," + LDAPTech, "ou=Users," + LDAPTech, "ou=Groups," + LDAPTech} {
		name, _, _ := strings.Cut(strings.TrimPrefix(dn, "ou="), ",")
		entry(dn, "objectClass: organizationalUnit", "ou: "+name)
	}
	entry(LDAPBindDN, "objectClass: inetOrgPerson", "objectClass: adUser", "cn: admin", "sn: admin", "sAMAccountName: admin", "userPassword: "+ssha(LDAPBindPassword))
	for _, u := range LDAPUsers {
		control := 512
		if u.Disabled {
			control = 514
		}
		entry(u.DN(), "objectClass: inetOrgPerson", "objectClass: adUser", "cn: "+u.First+" "+u.Last, "givenName: "+u.First, "sn: "+u.Last, "displayName: "+u.First+" "+u.Last,
			"uid: "+u.Account, "sAMAccountName: "+u.Account, "userPrincipalName: "+u.Account+"@example.com", fmt.Sprintf("userAccountControl: %d", control),
			"mail: "+u.Account+"@example.com", "userPassword: "+ssha(u.Password()))
	}
	group := func(name string, members ...string) {
		lines := []string{"objectClass: groupOfNames", "objectClass: adGroup", "cn: " + name, "sAMAccountName: " + name}
		for _, m := range members {
			lines = append(lines, "member: "+m)
		}
		entry(LDAPGroupDN(name), lines...)
	}
	group("registry-admins", LDAPUsers[0].DN())
	group("registry-users", LDAPUsers[0].DN(), LDAPUsers[1].DN())
	group("all-staff", LDAPGroupDN("registry-admins"), LDAPGroupDN("registry-users"))
	return b.String()
}

// ssha hashes a password as slappasswd does.
func ssha(password string) string {
	salt := make([]byte, 8)
	rand.Read(salt)
	sum := sha1.Sum(append([]byte(password), salt...))
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...))
}

// answers asks for what everybody may see.
func (l *LDAP) answers(ctx context.Context) error {
	search, err := program(ldapPackages, "ldapsearch")
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, search, "-x", "-H", l.URL, "-b", "", "-s", "base", "-LLL", "1.1").CombinedOutput()
	if err != nil {
		return fail.E(fail.Unavailable, err, "ask slapd: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// Stop ends the directory and removes its files if their folder was made here.
func (l *LDAP) Stop() error {
	l.Kill()
	return l.place.remove()
}
