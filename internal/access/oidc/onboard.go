package oidc

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// KeptParts is in how many cookies at most a login waits for a name: proxies take a header of 8 KiB, all cookies in it.
	KeptParts = 2
	// askLife is how long somebody may think about a name.
	askLife = 15 * time.Minute
	// maxPlain bounds what is unpacked: no provider answers more.
	maxPlain = 2 * maxAnswer
)

// kept is a login that waits for a name.
type kept struct {
	Person  access.Person `json:"p"`
	Refresh string        `json:"r"`
	ID      string        `json:"i"`
	Return  string        `json:"b"`
	Until   int64         `json:"t"` // in seconds
}

// Keep answers what the browser keeps of a login while somebody is asked for a name: the values of at most KeptParts cookies, for Resume. Invalid if he is in too many groups.
func (c *Client) Keep(l Login) ([]string, error) {
	wait := kept{Person: l.Person, Refresh: l.Tokens.Refresh, ID: l.Tokens.ID, Return: l.ReturnTo, Until: c.Clock().Add(askLife).Unix()}
	text, err := c.pack(wait)
	if err == nil && len(text) > KeptParts*maxSealed {
		wait.ID = "" // which only spares a question at the logout
		text, err = c.pack(wait)
	}
	if err != nil {
		return nil, err
	}
	if len(text) > KeptParts*maxSealed {
		return nil, fail.E(fail.Invalid, nil, "%d groups of %.100s are too many to keep in the browser while a name is asked for", len(l.Person.Groups), l.Person.Name).
			Hint("ask an administrator to set oidc_auto_onboard, or oidc_group_filter to the groups that have roles here")
	}
	var parts []string
	for len(text) > maxSealed {
		parts, text = append(parts, text[:maxSealed]), text[maxSealed:]
	}
	return append(parts, text), nil
}

// Resume answers the login of what Keep answered. Errors are Invalid.
func (c *Client) Resume(parts []string) (Login, error) {
	packed, err := c.Seal.Open(c.waiting(), strings.Join(parts, ""))
	if err != nil {
		return Login{}, fail.E(fail.Invalid, err, "no login of this browser waits for a name, or it waited for too long").Hint(again)
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxPlain))
	var wait kept
	if err == nil {
		err = json.Unmarshal(text, &wait)
	}
	if err != nil {
		return Login{}, fail.E(fail.Internal, err, "a login that waits for a name can't be read")
	}
	if c.Clock().Unix() >= wait.Until {
		return Login{}, fail.E(fail.Invalid, nil, "the login waited for a name longer than %s", askLife).Hint(again)
	}
	return Login{Person: wait.Person, Ask: true, Tokens: Tokens{Refresh: wait.Refresh, ID: wait.ID}, ReturnTo: wait.Return}, nil
}

// waiting is the name under which a login is sealed that waits for a name.
func (c *Client) waiting() string { return "oidc onboarding " + c.ClientID + " " + c.Endpoint }

// pack seals as little as can be: names of groups are much alike.
func (c *Client) pack(wait kept) (string, error) {
	text, err := json.Marshal(wait)
	var packed bytes.Buffer
	if err == nil {
		var out *flate.Writer
		if out, err = flate.NewWriter(&packed, flate.BestCompression); err == nil {
			_, err = out.Write(text)
			err = errors.Join(err, out.Close())
		}
	}
	if err != nil {
		return "", fail.E(fail.Internal, err, "keep a login")
	}
	return c.Seal.Seal(c.waiting(), packed.Bytes()), nil
}
