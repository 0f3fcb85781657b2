package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// certificateTime is how long a lab's certificates are good. They begin in the past: the clock of the machine may step.
const certificateTime = 30 * 24 * time.Hour

// authority is a certificate authority that nobody knows, with one certificate for all servers of a lab.
type authority struct {
	ca, cert, key string // files
}

// newAuthority writes an authority and a certificate for the addresses into a directory, unless it has them.
func newAuthority(dir string, a account, ips []string) (authority, error) {
	at := authority{ca: filepath.Join(dir, "ca.crt"), cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key")}
	if _, err := os.Stat(at.key); err == nil {
		return at, nil
	}
	if err := at.issue(a, ips, time.Now().Add(certificateTime)); err != nil {
		return authority{}, fail.E(fail.Unavailable, err, "certificates of a lab")
	}
	return at, nil
}

// expire writes another authority, and a certificate that is out of date since an hour.
func (at authority) expire(a account, ips []string) error {
	if err := at.issue(a, ips, time.Now().Add(-time.Hour)); err != nil {
		return fail.E(fail.Unavailable, err, "certificates of a lab")
	}
	return nil
}

func (at authority) issue(a account, ips []string, until time.Time) error {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Havn lab authority"},
		NotBefore: now.Add(-certificateTime), NotAfter: now.Add(certificateTime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Havn lab"}, NotBefore: ca.NotBefore, NotAfter: until,
		DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, // servers of a cluster are each other's clients
	}
	for _, ip := range ips {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(ip))
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(at.ca, "CERTIFICATE", caDER, 0o644, a), writePEM(at.cert, "CERTIFICATE", leafDER, 0o644, a), writePEM(at.key, "PRIVATE KEY", keyDER, 0o600, a))
}

func writePEM(path, kind string, der []byte, mode os.FileMode, a account) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Chown(path, a.uid, a.gid)
}
