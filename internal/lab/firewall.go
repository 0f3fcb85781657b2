package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/havn-registry/havn/internal/fail"
)

// The chains of a firewall into which rules may be put.
const (
	// Severed sees all packets; what its rules drop is lost, as in a broken network: connections hang.
	Severed = "severed"
	// Remote may lead connections that begin elsewhere (dnat).
	Remote = "remote"
)

const firewallPackage = "nftables"

// mostGroups is how many groups a firewall can tell apart: the bits of a connection's mark.
const mostGroups = 32

// Firewall cuts servers of a lab off from others, with a table of nftables' of its own. Its methods are safe for concurrent use.
//
// Servers that have an address of their own for both directions are known by it: see Alone. Others are known by the group that they run as: each packet that a process of a group sends marks its
// connection with the group, so that packets of both directions are known, also when the process has closed its end.
type Firewall struct {
	table string
	nft   string

	mu     sync.Mutex
	groups []int
}

// NewFirewall makes a table of this name, in place of one that may be left from before, which tells these groups apart. It needs root.
func NewFirewall(ctx context.Context, table string, groups ...int) (*Firewall, error) {
	if os.Geteuid() != 0 {
		return nil, fail.E(fail.Denied, nil, "cut servers off: only root may change the firewall").Hint("run the lab as root, or kill the server (also with --hang)")
	}
	if len(groups) > mostGroups {
		return nil, fail.E(fail.Internal, nil, "a firewall for %d groups", len(groups))
	}
	nft, err := program(firewallPackage, "nft")
	if err != nil {
		return nil, err
	}
	f := &Firewall{table: "inet " + table, nft: nft, groups: groups}
	lines := []string{
		"add table " + f.table, "delete table " + f.table, "add table " + f.table,
		"add chain " + f.table + " owners { type filter hook output priority -150; }",
		"add chain " + f.table + " " + Remote + " { type nat hook output priority -100; }",
		"add chain " + f.table + " " + Severed + " { type filter hook output priority 0; }",
	}
	for i, group := range groups {
		lines = append(lines, fmt.Sprintf("add rule %s owners meta skgid %d ct mark set ct mark or %#x", f.table, group, uint32(1)<<i))
	}
	return f, f.load(ctx, lines)
}

// RemoveFirewall removes a table of this name, if there is one: whoever made it may be gone.
func RemoveFirewall(ctx context.Context, table string) error {
	nft, err := program(firewallPackage, "nft")
	if err != nil || os.Geteuid() != 0 {
		return nil //nolint:nilerr // then nobody made one
	}
	f := &Firewall{table: "inet " + table, nft: nft}
	return f.Remove(ctx)
}

// Add puts rules into a chain.
func (f *Firewall) Add(ctx context.Context, chain string, rules ...string) error {
	return f.load(ctx, f.rules(chain, rules))
}

// Sever drops what any of the rules matches, and nothing else any more.
func (f *Firewall) Sever(ctx context.Context, rules ...string) error {
	lines := []string{"flush chain " + f.table + " " + Severed}
	for _, rule := range rules {
		lines = append(lines, f.rules(Severed, []string{rule + " drop"})...)
	}
	return f.load(ctx, lines)
}

// Mend takes all rules away.
func (f *Firewall) Mend(ctx context.Context) error {
	return f.load(ctx, []string{"flush chain " + f.table + " " + Severed, "flush chain " + f.table + " " + Remote})
}

// Remove removes the table. Nothing is cut off any more.
func (f *Firewall) Remove(ctx context.Context) error {
	return f.load(ctx, []string{"add table " + f.table, "delete table " + f.table})
}

// Of matches all packets of connections on which a process of the group has sent something.
func (f *Firewall) Of(group int) string {
	for i, known := range f.groups {
		if known == group {
			return fmt.Sprintf("ct mark and %#x != 0", uint32(1)<<i)
		}
	}
	panic(fmt.Sprintf("the firewall does not know group %d", group)) // which is of our own lab
}

// From matches what goes either way on connections that a process of the group begins to some servers.
func (f *Firewall) From(group int, hosts ...string) string {
	return f.Of(group) + " ct original ip daddr " + IPs(hosts...)
}

// Alone answers rules for all packets to and from servers that have addresses of their own for both.
func Alone(hosts ...string) []string {
	return []string{"ip saddr " + IPs(hosts...), "ip daddr " + IPs(hosts...)}
}

// IPs answers the addresses of servers (host:port) as a set of the firewall's.
func IPs(hosts ...string) string {
	var all []string
	for _, host := range hosts {
		ip, _, err := net.SplitHostPort(host)
		if err != nil {
			panic(err) // of our own lab
		}
		all = append(all, ip)
	}
	return "{ " + strings.Join(all, ", ") + " }"
}

func (f *Firewall) rules(chain string, rules []string) []string {
	var lines []string
	for _, rule := range rules {
		lines = append(lines, "add rule "+f.table+" "+chain+" "+rule)
	}
	return lines
}

// load gives nftables lines that take effect all at once, or not at all.
func (f *Firewall) load(ctx context.Context, lines []string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	cmd := exec.CommandContext(ctx, f.nft, "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fail.E(fail.Unavailable, errors.Join(err, ctx.Err()), "nft: %s", strings.TrimSpace(out.String()))
	}
	return nil
}
