package harborapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// csrfHeader holds the token, in answers and in requests.
const csrfHeader = "X-Harbor-CSRF-Token"

// CSRFToken answers a token that goes with the cookie of a session, for requests that change something: a page of another site can make a browser send the cookie, and can't read it to make
// the token. It holds as long as the session, at every node: it is a one-way function of the cookie. Each token is masked anew, so that compressed answers with several of them tell nothing.
func CSRFToken(cookie string) string {
	var token [2 * sha256.Size]byte
	mask, masked := token[:sha256.Size], token[sha256.Size:]
	if _, err := rand.Read(mask); err != nil {
		clear(mask) // crypto/rand says that it never fails; a token without a mask would do
	}
	proof := csrfProof(cookie)
	subtle.XORBytes(masked, proof[:], mask)
	return base64.StdEncoding.EncodeToString(token[:])
}

// csrfHolds reports whether a token goes with a cookie.
func csrfHolds(token, cookie string) bool {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(raw) != 2*sha256.Size {
		return false
	}
	subtle.XORBytes(raw, raw[:sha256.Size], raw[sha256.Size:])
	proof := csrfProof(cookie)
	return subtle.ConstantTimeCompare(raw[:sha256.Size], proof[:]) == 1
}

func csrfProof(cookie string) [sha256.Size]byte {
	return sha256.Sum256([]byte("havn csrf\x00" + cookie))
}
