package oci_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// digestGrammar is the image specification's, "Digests", for the registered algorithms.
var digestGrammar = regexp.MustCompile(`^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$`)

const (
	emptySHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	emptySHA512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)

var digests = []string{
	emptySHA256, emptySHA512, "sha256:" + strings.Repeat("0", 64), "sha512:" + strings.Repeat("f", 128),
	"", ":", "sha256", "sha256:", "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 65), "sha256:" + strings.Repeat("0", 128),
	"sha512:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("A", 64), "SHA256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("g", 64),
	"sha256:" + strings.Repeat("0", 62) + "\x00\x00", "sha256:" + strings.Repeat("é", 32), "md5:d41d8cd98f00b204e9800998ecf8427e", "sha384:" + strings.Repeat("0", 96),
	"sha256+b64u:" + strings.Repeat("0", 43), " " + emptySHA256, emptySHA256 + "\n", "sha256:../" + strings.Repeat("0", 61), "sha256-" + strings.Repeat("0", 64) + ":",
	"sha256::" + strings.Repeat("0", 63), "unknown:" + strings.Repeat("0", 64), strings.Repeat("a", 10_000) + ":" + strings.Repeat("0", 10_000),
}

func checkDigest(t *testing.T, s string) {
	t.Helper()
	d, err := oci.ParseDigest(s)
	if want := digestGrammar.MatchString(s); want != (err == nil) {
		t.Fatalf("digest %.300q: error %v, the grammar says good=%v", s, err, want)
	}
	if err != nil {
		if !d.IsZero() || !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeDigestInvalid || fail.HintOf(err) == "" || len(err.Error()) > 1000 {
			t.Fatalf("digest %.300q: %.300v, kind %v, code %q", s, err, fail.KindOf(err), fail.CodeOf(err))
		}
		return
	}
	if d.String() != s || d.Algorithm().String()+":"+d.Hex() != s || d.IsZero() {
		t.Fatalf("digest %q is %q", s, d)
	}
	stored, err := oci.DigestFromBytes(d.Bytes())
	if err != nil || stored != d {
		t.Fatalf("digest %q comes back from the database as %q, %v", s, stored, err)
	}
	text, err := json.Marshal(d)
	var again oci.Digest
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil || again != d {
		t.Fatalf("digest %q comes back from JSON %s as %q, %v", s, text, again, err)
	}
}

func TestDigestsFollowTheGrammar(t *testing.T) {
	t.Parallel()
	for _, s := range digests {
		checkDigest(t, s)
	}
}

func FuzzDigest(f *testing.F) {
	for _, s := range digests {
		f.Add(s)
	}
	f.Fuzz(checkDigest)
}

func TestSumAndHashAgreeAcrossAKeptState(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("abc"), 1000)
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		first := a.New()
		first.Write(text[:1234])
		keeper, ok := first.(encoding.BinaryMarshaler)
		if !ok {
			t.Fatalf("%s keeps no state", a)
		}
		state, err := keeper.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		second := a.New()
		reader, ok := second.(encoding.BinaryUnmarshaler)
		if !ok {
			t.Fatalf("%s reads no state", a)
		}
		if err = reader.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		second.Write(text[1234:])
		if got, want := oci.FromHash(a, second), oci.Sum(a, text); got != want || len(got.Bytes()) != 1+a.Size() {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
	if got := oci.Sum(oci.SHA256, nil).String(); got != emptySHA256 {
		t.Errorf("nothing has %s", got)
	}
	if got := oci.Sum(oci.SHA512, nil).String(); got != emptySHA512 {
		t.Errorf("nothing has %s", got)
	}
}

func TestAStoredDigestThatIsNoneIsOurOwnFault(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{nil, {}, {0}, {1}, make([]byte, 33), append([]byte{3}, make([]byte, 32)...), append([]byte{1}, make([]byte, 64)...), append([]byte{2}, make([]byte, 32)...)} {
		if d, err := oci.DigestFromBytes(b); !fail.Is(err, fail.Internal) || !d.IsZero() {
			t.Errorf("%x is read as %q, %v", b, d, err)
		}
	}
}

func TestTheZeroDigestIsNone(t *testing.T) {
	t.Parallel()
	var d oci.Digest
	if !d.IsZero() || d.String() != "" || d.Hex() != "" {
		t.Errorf("%q, %q", d.String(), d.Hex())
	}
	for _, text := range []string{`""`, `null`, `1`, `{}`, `"sha256:0"`} {
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("JSON %s is read as %q", text, d)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]oci.Algorithm{"sha256": oci.SHA256, "sha512": oci.SHA512} {
		if a, err := oci.ParseAlgorithm(s); err != nil || a != want || a.String() != s {
			t.Errorf("%q is %v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "SHA256", "sha1", "sha256 ", "unknown"} {
		if _, err := oci.ParseAlgorithm(s); !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeDigestInvalid {
			t.Errorf("%q: %v", s, err)
		}
	}
	if a := oci.Algorithm(9); a.Size() != 0 || a.String() != "unknown" {
		t.Errorf("algorithm 9 is %s of %d bytes", a, a.Size())
	}
}
