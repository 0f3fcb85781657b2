package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	base = "/api/v2.0"
	// callTime bounds one request with its answer: far above what the slowest operation, a copy or the deletion of a large repository, takes.
	callTime = 2 * time.Minute
	// maxAnswer bounds what is read of an answer: far above a page of the longest entries.
	maxAnswer = 64 << 20
	// maxTries and maxWait bound how often and how long a question is asked again of a server that says 503, as one does while its database chooses another primary.
	maxTries = 4
	maxWait  = 10 * time.Second
	// MaxPage is the largest page of a list.
	MaxPage = 100
)

// Config says which server is asked, and as whom.
type Config struct {
	Server         string // as ParseServer answers it
	User, Password string // "": as a stranger
	CA             []byte // certificates in PEM that are trusted besides the system's
	Agent          string // User-Agent
}

// Client is a server as somebody's. It is safe for concurrent use.
type Client struct {
	Config
	http *http.Client
}

// New makes a client. Invalid if CA holds no certificate.
func New(c Config) (*Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	if len(c.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(c.CA) {
			return nil, fail.E(fail.Invalid, nil, "the CA file holds no certificate").Hint("it is PEM: -----BEGIN CERTIFICATE-----")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	// A redirect is an error here: nobody else is told the password, and what was to be posted is not fetched.
	return &Client{c, &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// request is one call of an operation.
type request struct {
	method, path string // below base, escaped
	query        url.Values
	named        bool // the project in the path is a name, whatever it looks like
	body         any  // nil: none
}

// done is what of an answer is not in its body.
type done struct {
	at    string // Location, below base
	total int64  // X-Total-Count
}

// do sends a request and reads the answer into to, unless that is nil. What the server refuses is an error of the kind that its status stands for, with its own words. A question is asked
// again while the server says 503; what changes something is not, because it may have happened.
func (c *Client) do(ctx context.Context, r request, to any) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for try := 1; ; try++ {
		d, err := c.once(ctx, r, to)
		wait := fail.RetryAfterOf(err)
		if r.method != http.MethodGet || try == maxTries || wait <= 0 || wait > maxWait {
			return d, err
		}
		select {
		case <-ctx.Done():
			return d, err
		case <-time.After(wait):
		}
	}
}

func (c *Client) once(ctx context.Context, r request, to any) (d done, err error) {
	var body io.Reader
	if r.body != nil {
		text, jsonErr := json.Marshal(r.body)
		if jsonErr != nil {
			return d, fail.E(fail.Internal, jsonErr, "write the request")
		}
		body = bytes.NewReader(text)
	}
	address := c.Server + base + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return d, fail.E(fail.Invalid, err, "ask %s", c.Server)
	}
	q.Header.Set("User-Agent", c.Agent)
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if r.named {
		q.Header.Set("X-Is-Resource-Name", "true")
	}
	if c.User != "" {
		q.SetBasicAuth(c.User, c.Password)
	}
	answer, err := c.http.Do(q)
	if err != nil {
		return d, c.unreachable(err)
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return d, c.unreachable(err)
	case len(text) > maxAnswer:
		return d, fail.E(fail.TooLarge, nil, "%s answers more than %d MiB", c.Server, maxAnswer>>20).Hint("ask for less at once")
	case answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusCreated:
		return d, c.refused(answer, text)
	}
	return c.read(answer, text, to)
}

func (c *Client) read(answer *http.Response, text []byte, to any) (d done, err error) {
	d.at = strings.TrimPrefix(answer.Header.Get("Location"), base)
	if total := answer.Header.Get("X-Total-Count"); total != "" {
		if d.total, err = strconv.ParseInt(total, 10, 64); err != nil {
			return d, c.stranger(answer.Status)
		}
	}
	if to != nil && json.Unmarshal(text, to) != nil {
		return d, c.stranger(answer.Status)
	}
	return d, nil
}

// kinds are what statuses stand for.
var kinds = map[int]fail.Kind{
	http.StatusBadRequest: fail.Invalid, http.StatusUnauthorized: fail.Unauthenticated, http.StatusForbidden: fail.Denied, http.StatusNotFound: fail.NotFound, http.StatusConflict: fail.Conflict,
	http.StatusPreconditionFailed: fail.Conflict, http.StatusRequestEntityTooLarge: fail.TooLarge, http.StatusUnprocessableEntity: fail.Invalid, http.StatusTooManyRequests: fail.Exhausted,
	http.StatusInternalServerError: fail.Internal, http.StatusNotImplemented: fail.Unsupported, http.StatusBadGateway: fail.Unavailable, http.StatusServiceUnavailable: fail.Unavailable,
	http.StatusGatewayTimeout: fail.Unavailable, http.StatusInsufficientStorage: fail.Unavailable,
}

// refused makes an error of a status and of the words of the server, which say what to do too.
func (c *Client) refused(answer *http.Response, text []byte) error {
	if to := answer.Header.Get("Location"); to != "" && answer.StatusCode >= 300 && answer.StatusCode < 400 {
		return fail.E(fail.Conflict, nil, "%s sends on to %.200q, which is not followed with a password", c.Server, to).Hint("log in there, if that is the registry")
	}
	kind, known := kinds[answer.StatusCode]
	var said struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(text, &said) != nil || len(said.Errors) == 0 || !known {
		if kind == fail.Unavailable { // a balancer without a node
			return fail.E(kind, nil, "%s answers %s", c.Server, answer.Status).Hint("try again; `havn status` on a node says what is wrong").RetryAfter(retryAfter(answer))
		}
		return c.stranger(answer.Status)
	}
	e := fail.E(kind, nil, "%s: %s", kind, Printable(said.Errors[0].Message)).Code(said.Errors[0].Code)
	if kind == fail.Unavailable || kind == fail.Exhausted {
		return e.RetryAfter(retryAfter(answer))
	}
	return e
}

// retryAfter answers how long a server asks to wait; 0 if it does not say.
func retryAfter(answer *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (c *Client) stranger(status string) error {
	return fail.E(fail.Conflict, nil, "%s answers %s, and not as a registry with Harbor's API does", c.Server, status).Hint("is that the address of Havn, and is http:// or https:// right?")
}

// unreachable says why there is no answer.
func (c *Client) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &authority):
		return fail.E(fail.Conflict, err, "ask %s", c.Server).Hint("give the certificate of its authority: --ca-file, HAVN_CA_FILE")
	case errors.As(err, &host), errors.As(err, &invalid):
		return fail.E(fail.Conflict, err, "ask %s", c.Server).Hint("use the name that its certificate has, or let the server have another certificate")
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fail.E(fail.Conflict, nil, "%s does not speak TLS", c.Server).Hint("write http:// in front of the address, with --plain-http if it is another machine's")
	case errors.Is(err, context.DeadlineExceeded):
		return fail.E(fail.Unavailable, nil, "%s does not answer in time", c.Server).Hint("try again, or another node with --server")
	}
	return fail.E(fail.Unavailable, err, "ask %s", c.Server).Hint("is it running, and is the address right? Any other node does as well: --server")
}

// All asks for a list page after page, for at most so many entries (0: for all), and answers them and how many there are in all.
func All[T any](limit int64, ask func(page, size int64) ([]T, int64, error)) ([]T, int64, error) {
	size := int64(MaxPage)
	if limit > 0 && limit < size {
		size = limit
	}
	all := []T{}
	for number := int64(1); ; number++ {
		page, total, err := ask(number, size)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, page...)
		if limit > 0 && int64(len(all)) >= limit {
			return all[:limit], total, nil
		}
		if len(page) == 0 || int64(len(all)) >= total {
			return all, max(total, int64(len(all))), nil
		}
	}
}

// IDAt answers the number at the end of where something was made; 0 if there is none.
func IDAt(at string) int64 {
	id, err := strconv.ParseInt(at[strings.LastIndexByte(at, '/')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// Printable answers a text of somebody else's as a terminal may have it: what controls one becomes a space.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// setString, setInteger and setBoolean write a parameter; what is empty is not sent.
func setString(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// setFilter writes q. The API lets it be escaped twice, and so takes one apart that is escaped once if it happens to have % or + in it.
func setFilter(q url.Values, value string) { setString(q, "q", url.QueryEscape(value)) }

func setInteger(q url.Values, name string, value int64) {
	if value != 0 {
		q.Set(name, strconv.FormatInt(value, 10))
	}
}

func setBoolean(q url.Values, name string, value bool) { q.Set(name, strconv.FormatBool(value)) }

func setBooleanIf(q url.Values, name string, value *bool) {
	if value != nil {
		setBoolean(q, name, *value)
	}
}
