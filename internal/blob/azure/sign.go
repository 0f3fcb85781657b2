package azure

import (
	"context"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/havn-registry/havn/internal/fail"
)

// A key for signatures, which the service gives this machine's identity, is good for delegated, and a new one is asked for when what is left is not spare longer
// than a URL lives. It begins skew before now: clocks differ.
const (
	delegated = 24 * time.Hour
	spare     = time.Hour
	skew      = 15 * time.Minute
)

// signing is a driver with signed URLs.
type signing struct {
	*Driver
	service *service.Client // nil: the account's key signs

	mu    sync.Mutex
	key   *service.UserDelegationCredential
	until time.Time
}

// prepare proves that URLs can be signed.
func (s *signing) prepare(ctx context.Context) error {
	_, err := s.SignGet(probing(ctx), probePrefix, time.Minute)
	return err
}

// SignGet answers a URL at which the object can be read for a while without credentials: see blob.Signer.
func (s *signing) SignGet(ctx context.Context, name string, life time.Duration) (string, error) {
	read := sas.BlobPermissions{Read: true}
	values := sas.BlobSignatureValues{
		ContainerName: s.cfg.Container, BlobName: s.prefix + name, Permissions: read.String(), ExpiryTime: s.now().Add(life), Protocol: sas.ProtocolHTTPSandHTTP,
	}
	at := s.cfg.service().JoinPath(s.cfg.Container, s.prefix+name)
	if at.Scheme == "https" {
		values.Protocol = sas.ProtocolHTTPS
	}
	signature, err := s.signature(ctx, values, life)
	if err != nil {
		return "", err
	}
	at.RawQuery = signature.Encode()
	return at.String(), nil
}

func (s *signing) signature(ctx context.Context, values sas.BlobSignatureValues, life time.Duration) (q sas.QueryParameters, err error) {
	if s.service == nil {
		key, keyErr := container.NewSharedKeyCredential(s.cfg.Account, s.cfg.Key)
		if keyErr == nil {
			q, keyErr = values.SignWithSharedKey(key)
		}
		if keyErr != nil {
			return q, fail.E(fail.Internal, keyErr, "sign a URL for object %s", values.BlobName)
		}
		return q, nil
	}
	key, err := s.delegation(ctx, life)
	if err != nil {
		return q, err
	}
	if q, err = values.SignWithUserDelegation(key); err != nil {
		return q, fail.E(fail.Internal, err, "sign a URL for object %s", values.BlobName)
	}
	return q, nil
}

// delegation answers a key that is good for so long, and asks for one if there is none.
func (s *signing) delegation(ctx context.Context, life time.Duration) (*service.UserDelegationCredential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.key != nil && s.until.Sub(now) > life+spare {
		return s.key, nil
	}
	start, until := now.Add(-skew).Format(sas.TimeFormat), now.Add(delegated)
	expiry := until.Format(sas.TimeFormat)
	key, err := s.service.GetUserDelegationCredential(ctx, service.KeyInfo{Start: &start, Expiry: &expiry}, nil)
	if err == nil {
		s.key, s.until = key, until
		return key, nil
	}
	if s.key != nil && s.until.Sub(now) > life { // the old one does for now
		return s.key, nil
	}
	return nil, s.failed(err, "get a key for signed URLs")
}
