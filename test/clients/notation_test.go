package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/havn-registry/havn/test/harness"
)

// trusted is a store of certificates in memory: of one certificate.
type trusted struct{ cert *x509.Certificate }

// GetCertificates answers the one, whatever the store's name.
func (s trusted) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return []*x509.Certificate{s.cert}, nil
}

// signingKey makes a key and a certificate of its own signature, as notation wants them for signing.
func signingKey(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Havn test", Organization: []string{"Havn"}, Country: []string{"DE"}, Province: []string{"HH"}},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func TestNotationSignsAndVerifies(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	digest := seed(t, s, "lab/app", "v1", image(t, 71))
	ref := s.Addr + "/lab/app@" + digest
	target, err := remote.NewRepository(ref)
	if err != nil {
		t.Fatal(err)
	}
	target.PlainHTTP = true
	target.Client = &auth.Client{
		Client: s.HTTP(), Cache: auth.NewCache(),
		Credential: auth.StaticCredential(s.Addr, auth.Credential{Username: harness.User, Password: harness.Password}),
	}
	repo := registry.NewRepository(target)

	key, cert := signingKey(t)
	sign, err := signer.NewGenericSigner(key, []*x509.Certificate{cert})
	if err != nil {
		t.Fatal(err)
	}
	check := func(cert *x509.Certificate) error {
		policy := &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{{
			Name: "test", RegistryScopes: []string{"*"}, TrustStores: []string{"ca:test"}, TrustedIdentities: []string{"*"},
			SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: trustpolicy.LevelStrict.Name},
		}}}
		verify, checkErr := verifier.New(policy, trusted{cert}, nil)
		if checkErr != nil {
			return checkErr
		}
		_, _, checkErr = notation.Verify(t.Context(), verify, repo, notation.VerifyOptions{ArtifactReference: ref, MaxSignatureAttempts: 10})
		return checkErr
	}

	if err = check(cert); err == nil {
		t.Fatal("an image without a signature verifies")
	}
	for i, mediaType := range []string{jws.MediaTypeEnvelope, cose.MediaTypeEnvelope} {
		_, err = notation.Sign(t.Context(), sign, repo, notation.SignOptions{
			ArtifactReference: ref, SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaType},
		})
		if err != nil {
			t.Fatalf("sign as %s: %v", mediaType, err)
		}
		equal(t, "referrers", len(referrers(t, s, "lab/app", digest)), i+1)
	}
	wantReferrer(t, s, "lab/app", digest, registry.ArtifactTypeNotation)
	if err = check(cert); err != nil {
		t.Fatalf("verify: %v", err)
	}
	_, stranger := signingKey(t)
	if err = check(stranger); err == nil {
		t.Fatal("the signature verifies with a stranger's certificate")
	}
}
