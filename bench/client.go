package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// client is one connection to a registry. It speaks just enough HTTP/1.1 for a load generator, because on a small machine the time that a
// general client takes would hide the difference between the servers.
type client struct {
	addr    string
	tls     *tls.Config // nil: plain
	auth    string      // the Authorization header's value, or ""
	conn    net.Conn
	in      *bufio.Reader
	request bytes.Buffer
	scratch []byte
}

// answer is what a request brought.
type answer struct {
	status   int
	length   int64 // bytes of body that were read
	location string
	digest   string
	body     []byte // only where it was asked for
}

const (
	readBuffer = 64 << 10
	// stuck is long after any answer should have come; beyond it a server counts as broken.
	stuck = 2 * time.Minute
)

func newClient(addr string, secure *tls.Config, auth string) *client {
	return &client{addr: addr, tls: secure, auth: auth, scratch: make([]byte, 256<<10)}
}

func (c *client) close() {
	if c.conn != nil {
		closed(c.conn)
		c.conn = nil
	}
}

// closed ends a connection that is no longer needed: there is nothing to do about an error then.
func closed(c io.Closer) {
	if err := c.Close(); err != nil {
		return
	}
}

// do sends one request and reads its whole answer. A nil body with length 0 sends none.
func (c *client) do(method, path, contentType string, body []byte, keep bool) (answer, error) {
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: stuck}).Dial("tcp", c.addr)
		if err != nil {
			return answer{}, err
		}
		if c.tls != nil {
			conn = tls.Client(conn, c.tls)
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, readBuffer)
	}
	if err := c.conn.SetDeadline(time.Now().Add(stuck)); err != nil {
		return answer{}, err
	}
	c.head(method, path, contentType, int64(len(body)))
	buffers := net.Buffers{c.request.Bytes()}
	if len(body) > 0 {
		buffers = append(buffers, body)
	}
	if _, err := buffers.WriteTo(c.conn); err != nil {
		c.close()
		return answer{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	a, err := c.read(method == "HEAD", keep)
	if err != nil {
		c.close()
		return a, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return a, nil
}

func (c *client) head(method, path, contentType string, length int64) {
	w := &c.request
	w.Reset()
	w.WriteString(method + " " + path + " HTTP/1.1\r\nHost: " + c.addr + "\r\n")
	if c.auth != "" {
		w.WriteString("Authorization: " + c.auth + "\r\n")
	}
	if method == "GET" || method == "HEAD" {
		w.WriteString("Accept: application/vnd.oci.image.manifest.v1+json, */*\r\n")
	} else {
		w.WriteString("Content-Length: " + strconv.FormatInt(length, 10) + "\r\n")
	}
	if contentType != "" {
		w.WriteString("Content-Type: " + contentType + "\r\n")
	}
	w.WriteString("\r\n")
}

func (c *client) read(noBody, keep bool) (answer, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	if len(line) < 12 {
		return answer{}, fmt.Errorf("status line %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return answer{}, fmt.Errorf("status line %q: %w", line, err)
	}
	a := answer{status: status}
	length, chunked, closing := int64(0), false, false
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		if len(line) <= 2 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return a, fmt.Errorf("header line %q", line)
		}
		key, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		switch {
		case equal(key, "content-length"):
			length, err = strconv.ParseInt(string(value), 10, 64)
		case equal(key, "transfer-encoding"):
			chunked = true
		case equal(key, "connection"):
			closing = bytes.EqualFold(value, []byte("close"))
		case equal(key, "location"):
			a.location = string(value)
		case equal(key, "docker-content-digest"):
			a.digest = string(value)
		}
		if err != nil {
			return a, err
		}
	}
	if !noBody && status != 204 && status != 304 {
		err = c.body(&a, length, chunked, keep)
	}
	if closing {
		c.close()
	}
	return a, err
}

func equal(key []byte, name string) bool {
	return len(key) == len(name) && strings.EqualFold(string(key), name)
}

func (c *client) body(a *answer, length int64, chunked, keep bool) error {
	if !chunked {
		return c.take(a, length, keep)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return fmt.Errorf("chunk size %q: %w", line, err)
		}
		if err = c.take(a, n, keep); err != nil {
			return err
		}
		if line, err = c.in.ReadString('\n'); err != nil || line != "\r\n" {
			return errors.Join(err, fmt.Errorf("chunk ends with %q", line))
		}
		if n == 0 {
			return nil
		}
	}
}

func (c *client) take(a *answer, n int64, keep bool) error {
	for left := n; left > 0; {
		part := c.scratch[:min(left, int64(len(c.scratch)))]
		got, err := c.in.Read(part)
		if err != nil {
			return err
		}
		if keep {
			a.body = append(a.body, part[:got]...)
		}
		left -= int64(got)
	}
	a.length += n
	return nil
}
