package lab

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// need ends the test with what to do if something could not be had.
func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// ask runs one of OpenLDAP's clients and answers what it says and its exit code, which is the result code of LDAP.
func ask(t *testing.T, l *lab.LDAP, program string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-x", "-o", "ldif-wrap=no"}, args...)...)
	cmd.Env = append(cmd.Environ(), "LDAPTLS_CACERT="+l.CAFile)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestTheDirectoryIsLikeAnActiveDirectory(t *testing.T) {
	l, err := lab.StartLDAP(t.Context(), lab.LDAPOptions{})
	need(t, err)
	t.Cleanup(func() { need(t, l.Stop()) })
	const wrongCredentials, unwilling, noSuchObject = 49, 53, 32
	for _, u := range lab.LDAPUsers {
		for _, url := range []string{l.URL, l.SecureURL} {
			if out, code := ask(t, l, "ldapwhoami", "-H", url, "-D", u.DN(), "-w", u.Password()); code != 0 {
				t.Errorf("%s at %s: %d %s", u.Account, url, code, out)
			}
		}
		if out, code := ask(t, l, "ldapwhoami", "-H", l.URL, "-D", u.DN(), "-w", "wrong"); code != wrongCredentials {
			t.Errorf("%s with a wrong password: %d %s", u.Account, code, out)
		}
	}
	if out, code := ask(t, l, "ldapwhoami", "-ZZ", "-H", l.URL, "-D", lab.LDAPBindDN, "-w", lab.LDAPBindPassword); code != 0 {
		t.Errorf("StartTLS: %d %s", code, out)
	}
	if out, code := ask(t, l, "ldapwhoami", "-H", l.URL, "-D", lab.LDAPBindDN, "-w", ""); code != unwilling {
		t.Errorf("without a password: %d %s", code, out)
	}
	if out, code := ask(t, l, "ldapsearch", "-LLL", "-H", l.URL, "-b", lab.LDAPTech); code != noSuchObject {
		t.Errorf("a stranger looks around: %d %s", code, out)
	}

	search := func(filter string, attributes ...string) string {
		t.Helper()
		out, code := ask(t, l, "ldapsearch", append([]string{"-LLL", "-H", l.URL, "-D", lab.LDAPBindDN, "-w", lab.LDAPBindPassword, "-b", lab.LDAPTech, filter}, attributes...)...)
		if code != 0 {
			t.Fatalf("%s: %d %s", filter, code, out)
		}
		return out
	}
	alice := search("(&(objectClass=person)(sAMAccountName=alice))")
	for _, want := range []string{
		"userPrincipalName: alice@example.com", "mail: alice@example.com", "displayName: Alice Adams", "userAccountControl: 512",
	} {
		if !strings.Contains(alice, want+"\n") {
			t.Errorf("alice has no %q:\n%s", want, alice)
		}
	}
	if got := search("(sAMAccountName=alice)", "memberOf"); !strings.Contains(got, "memberOf: "+lab.LDAPGroupDN("registry-admins")+"\n") || !strings.Contains(got, "memberOf: "+lab.LDAPGroupDN("registry-users")+"\n") {
		t.Errorf("alice's groups: %s", got)
	}
	if got := search("(memberOf="+lab.LDAPGroupDN("all-staff")+")", "dn"); strings.Count(got, "dn: ") != 2 {
		t.Errorf("a group of groups: %s", got)
	}
	if got := search("(userAccountControl=514)", "sAMAccountName"); !strings.Contains(got, "sAMAccountName: carol\n") {
		t.Errorf("disabled: %s", got)
	}

	need(t, l.Restart(t.Context()))
	if got := search("(sAMAccountName=bob)", "memberOf"); !strings.Contains(got, lab.LDAPGroupDN("registry-users")) {
		t.Errorf("after a restart: %s", got)
	}
}
