package ldap

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

const (
	base      = "dc=example,dc=com"
	searcher  = "cn=search,dc=example,dc=com"
	searchPw  = "searchpw"
	groupBase = "ou=groups,dc=example,dc=com"
	aliceDN   = "cn=Alice,ou=users,dc=example,dc=com"
)

// fake is a server that does what no real one does when told to: it hangs, floods, breaks off, and is an Active Directory. It answers binds and searches from its functions.
type fake struct {
	t        *testing.T
	listener net.Listener

	mu     sync.Mutex
	said   []said
	conns  []net.Conn
	open   int
	came   int // connections, ever
	search func(q asked) reply
	bind   func(dn, password string) int
	hold   chan struct{} // while it is there, no answer goes out before it is closed
	raw    func(c net.Conn, id int64, op *ber.Packet) (done bool)
}

// said is a request that came.
type said struct {
	conn int
	what string // "bind DN", "search FILTER", "extended OID"
}

// asked is a search.
type asked struct {
	base, filter string
	scope, size  int64
	page         *goldap.ControlPaging
}

// reply is the answer to a search.
type reply struct {
	entries    []*goldap.Entry
	references []string
	code       int
	cookie     string
	cut        bool // the connection ends after the entries
}

func startFake(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		t: t, listener: l, search: func(asked) reply { return reply{} },
		bind: func(dn, password string) int {
			if dn == searcher && password == searchPw || dn == aliceDN && password == "alicepw" {
				return goldap.LDAPResultSuccess
			}
			return goldap.LDAPResultInvalidCredentials
		},
	}
	var all sync.WaitGroup
	all.Go(func() { f.accept(&all) })
	t.Cleanup(func() {
		f.shut(l)
		f.release()
		f.cutAll()
		all.Wait()
	})
	return f
}

// shut closes what may be closed already.
func (f *fake) shut(c io.Closer) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		f.t.Error(err)
	}
}

func (f *fake) url() string { return "ldap://" + f.listener.Addr().String() }

func (f *fake) accept(all *sync.WaitGroup) {
	for n := 1; ; n++ {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, c)
		f.open++
		f.came = n
		f.mu.Unlock()
		all.Go(func() {
			f.serve(c, n)
			f.shut(c)
			f.mu.Lock()
			f.open--
			f.mu.Unlock()
		})
	}
}

// pause lets no answer out until release.
func (f *fake) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = make(chan struct{})
}

func (f *fake) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hold != nil {
		close(f.hold)
		f.hold = nil
	}
}

// connections answers how many ever came.
func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.came
}

// cutAll closes all connections.
func (f *fake) cutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		f.shut(c)
	}
	f.conns = nil
}

// requests answers what came so far that begins like this, and forgets everything.
func (f *fake) requests(prefix string) []said {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(f.said), func(s said) bool { return !strings.HasPrefix(s.what, prefix) })
	return found
}

func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = nil
}

func (f *fake) serve(c net.Conn, n int) {
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, ok := p.Children[0].Value.(int64)
		if !ok {
			f.t.Errorf("message %v", p.Children[0].Value)
			return
		}
		if !f.answer(c, n, id, p) {
			return
		}
	}
}

// answer answers one request, and reports whether the connection lives on.
func (f *fake) answer(c net.Conn, n int, id int64, p *ber.Packet) bool {
	op := p.Children[1]
	note := func(format string, args ...any) {
		f.mu.Lock()
		f.said = append(f.said, said{n, fmt.Sprintf(format, args...)})
		f.mu.Unlock()
	}
	f.mu.Lock()
	search, bind, raw, hold := f.search, f.bind, f.raw, f.hold
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if raw != nil && raw(c, id, op) {
		return true
	}
	switch op.Tag {
	case goldap.ApplicationBindRequest:
		dn := fmt.Sprint(op.Children[1].Value)
		note("bind %s", dn)
		return send(c, answerPacket(id, goldap.ApplicationBindResponse, bind(dn, op.Children[2].Data.String())))
	case goldap.ApplicationSearchRequest:
		q := f.decode(p)
		note("search %s", q.filter)
		r := search(q)
		for _, ref := range r.references {
			message := envelope(id)
			reference := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
			reference.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, ref, ""))
			message.AppendChild(reference)
			send(c, message)
		}
		for _, e := range r.entries {
			if !send(c, entryPacket(id, e)) {
				return false
			}
		}
		if r.cut {
			return false
		}
		done := answerPacket(id, goldap.ApplicationSearchResultDone, r.code)
		if q.page != nil {
			controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
			controls.AppendChild((&goldap.ControlPaging{Cookie: []byte(r.cookie)}).Encode())
			done.AppendChild(controls)
		}
		return send(c, done)
	case goldap.ApplicationExtendedRequest:
		note("extended %s", op.Children[0].Data.String())
		return send(c, answerPacket(id, goldap.ApplicationExtendedResponse, goldap.LDAPResultProtocolError))
	default: // goodbye
		return false
	}
}

func (f *fake) decode(p *ber.Packet) asked {
	op := p.Children[1].Children
	number := func(p *ber.Packet) int64 {
		n, ok := p.Value.(int64)
		if !ok {
			f.t.Errorf("%v is no number", p.Value)
		}
		return n
	}
	q := asked{base: fmt.Sprint(op[0].Value), scope: number(op[1]), size: number(op[3])}
	var err error
	if q.filter, err = goldap.DecompileFilter(op[6]); err != nil {
		f.t.Error(err)
	}
	if len(p.Children) > 2 {
		for _, c := range p.Children[2].Children {
			control, controlErr := goldap.DecodeControl(c)
			page, ok := control.(*goldap.ControlPaging)
			if !ok {
				f.t.Errorf("control %v, %v", control, controlErr)
			}
			q.page = page
		}
	}
	return q
}

func envelope(id int64) *ber.Packet {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	return p
}

func answerPacket(id int64, tag ber.Tag, code int) *ber.Packet {
	p := envelope(id)
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	p.AppendChild(r)
	return p
}

func entryPacket(id int64, e *goldap.Entry) *ber.Packet {
	p := envelope(id)
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, e.DN, ""))
	attributes := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, a := range e.Attributes {
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a.Name, ""))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a.Values {
			set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, ""))
		}
		one.AppendChild(set)
		attributes.AppendChild(one)
	}
	r.AppendChild(attributes)
	p.AppendChild(r)
	return p
}

func send(c net.Conn, p *ber.Packet) bool {
	_, err := c.Write(p.Bytes())
	return err == nil
}

// alice is in the groups.
func alice(groups ...string) *goldap.Entry {
	return goldap.NewEntry(aliceDN, map[string][]string{"uid": {"alice"}, "mail": {"alice@example.com"}, "cn": {"Alice Adams"}, "memberOf": groups})
}

func groupEntry(name string) *goldap.Entry {
	return goldap.NewEntry("cn="+name+","+groupBase, map[string][]string{"cn": {name}})
}

// open makes a Directory of servers, with a clock that the test moves.
func open(t *testing.T, change func(c *Config), servers ...*fake) (*Directory, *clock) {
	t.Helper()
	k := &clock{now: time.Unix(1_700_000_000, 0)}
	c := Config{SearchDN: searcher, SearchPassword: searchPw, BaseDN: base, Timeout: patience, Clock: k.time, Groups: Groups{BaseDN: groupBase}}
	for _, f := range servers {
		c.URLs = append(c.URLs, f.url())
	}
	if change != nil {
		change(&c)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, k
}

// patience is a time-out for tests of what is answered, not of how quickly.
const patience = 20 * time.Second

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
