package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// crowdGroups is in how many groups each of the crowd is.
	crowdGroups = 5
	// crowdStep lies between the numbers of these groups, so that no two people beside each other are in the same.
	crowdStep = 1009
	// crowdNest is how many groups are in a group: group 0 holds 1 to 9, group 1 holds 10 to 19, and so on.
	crowdNest = 10
)

// LDAPCrowdUser answers one of the crowd.
func LDAPCrowdUser(n int) LDAPUser {
	return LDAPUser{Account: fmt.Sprintf("u%05d", n), First: "User", Last: fmt.Sprintf("%05d", n)}
}

// LDAPCrowdGroup answers the name of one of the crowd's groups.
func LDAPCrowdGroup(n int) string { return fmt.Sprintf("g%04d", n) }

// CrowdGroups answers the numbers of the groups that one of the crowd is in: first those directly, then in each list those that the groups before are in, up to the one that holds all.
func (o LDAPOptions) CrowdGroups(user int) (levels [][]int) {
	seen := map[int]bool{}
	var level []int
	for k := range crowdGroups {
		level = append(level, (user+k*crowdStep)%o.Groups)
	}
	for len(level) > 0 {
		var own, next []int
		for _, g := range level {
			if seen[g] {
				continue
			}
			seen[g] = true
			own = append(own, g)
			if g > 0 {
				next = append(next, g/crowdNest)
			}
		}
		if len(own) > 0 {
			levels = append(levels, own)
		}
		level = next
	}
	return levels
}

// crowd puts the crowd in while the server is down: over the wire it would take minutes. What the overlay would have written is written here.
func (l *LDAP) crowd(ctx context.Context) error {
	add, err := program(slapdPackage, "slapadd")
	if err != nil {
		return err
	}
	file := filepath.Join(l.place.dir, "crowd.ldif")
	if err = l.writeCrowd(file); err != nil {
		return fail.E(fail.Unavailable, err, "crowd of slapd")
	}
	if err = l.halt(syscall.SIGTERM); err != nil {
		return err
	}
	if err = l.a.run(ctx, l.place.dir, add, "-q", "-f", l.config(), "-l", file); err != nil {
		return err
	}
	if err = os.Remove(file); err != nil {
		return fail.E(fail.Unavailable, err, "crowd of slapd")
	}
	return l.Start(ctx)
}

func (l *LDAP) writeCrowd(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	// A bufio.Writer keeps its first error for Flush.
	say := func(format string, args ...any) { fmt.Fprintf(w, format, args...) } //nolint:errcheck // see above
	members := make([][]string, l.o.Groups)
	for n := range l.o.Users {
		u := LDAPCrowdUser(n)
		say("dn: %s\nobjectClass: inetOrgPerson\nobjectClass: adUser\ncn: %s %s\nsn: %s\nuid: %s\nsAMAccountName: %s\nmail: %s@example.com\nuserPassword: %s\n",
			u.DN(), u.First, u.Last, u.Last, u.Account, u.Account, u.Account, ssha(u.Password()))
		for _, g := range l.o.CrowdGroups(n)[0] {
			say("memberOf: %s\n", LDAPGroupDN(LDAPCrowdGroup(g)))
			members[g] = append(members[g], u.DN())
		}
		say("\n")
	}
	for g := range l.o.Groups {
		name := LDAPCrowdGroup(g)
		say("dn: %s\nobjectClass: groupOfNames\nobjectClass: adGroup\ncn: %s\nsAMAccountName: %s\n", LDAPGroupDN(name), name, name)
		for _, m := range members[g] {
			say("member: %s\n", m)
		}
		for inner := max(1, g*crowdNest); inner < min((g+1)*crowdNest, l.o.Groups); inner++ {
			say("member: %s\n", LDAPGroupDN(LDAPCrowdGroup(inner)))
		}
		if g > 0 {
			say("memberOf: %s\n", LDAPGroupDN(LDAPCrowdGroup(g/crowdNest)))
		}
		say("\n")
	}
	return w.Flush()
}
