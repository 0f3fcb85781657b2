package azure

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

// Config says where the container is and how it is used. Who is asked for: Key, else SAS, else what the surroundings say of this machine's identity.
type Config struct {
	Account   string
	Endpoint  *url.URL // of the service, without the container; nil: the account's in Azure's public cloud
	Container string
	Create    bool      // the container, if it is absent
	Prefix    string    // of every object; "" or without slashes at its ends
	Key       string    // of the account, in base64
	SAS       string    // a shared access signature, without a question mark
	SASEnd    time.Time // when it ends; zero: not known
	ClientID  string    // of the managed identity to use; "": the machine's only one
	// Sign makes a driver that signs URLs: see blob.Signer. A SAS can't sign others.
	Sign       bool
	BlockBytes int64
	Pool       *parts.Pool
	HTTP       *http.Client // as egress.NewStream makes it
	Clock      func() time.Time
	// CAKey is the key of the configuration that a hint names.
	CAKey string
}

// An operation is tried again while the server is away: writes, which hold a client's bytes, until a server that restarts is back; reads, which are tried again
// above, a few times; and at the start, where somebody waits for a word, once. All of them can be done twice.
const (
	writeTries, writePause = 12, 4 * time.Second
	readTries, readPause   = 2, 200 * time.Millisecond
	probeTries, tokenTries = 2, 3
	firstPause             = 200 * time.Millisecond
)

// What the start waits for. credentialPatience bounds asking the surroundings for a token: where there is no cloud, packets to its address may just vanish.
// probePatience bounds the try of the container: a server that hangs gets a word before whoever started the program gives up.
const (
	credentialPatience = 10 * time.Second
	probePatience      = 20 * time.Second
)

const (
	publicCloud = ".blob.core.windows.net"
	// scope is what tokens are asked for: the same in all of Azure's clouds.
	scope = "https://storage.azure.com/.default"
	// application names Havn in the service's logs.
	application = "havn"
)

// service answers the address of the account's service, without a signature.
func (c *Config) service() *url.URL {
	if c.Endpoint == nil {
		return &url.URL{Scheme: "https", Host: c.Account + publicCloud}
	}
	return c.Endpoint
}

// addressKey is the key of the configuration that says where the server is.
func (c *Config) addressKey() string {
	if c.Endpoint == nil {
		return "storage.azure.account"
	}
	return "storage.azure.endpoint"
}

func (c *Config) clientOptions() policy.ClientOptions {
	return policy.ClientOptions{
		Transport: c.HTTP, Retry: retrying(readTries, readPause),
		Telemetry: policy.TelemetryOptions{ApplicationID: application},
	}
}

// clients makes the SDK's: of the container, and, where this machine's identity signs URLs, of the service.
func (c *Config) clients(ctx context.Context) (*container.Client, *service.Client, error) {
	at := c.service().JoinPath(c.Container)
	o := &container.ClientOptions{ClientOptions: c.clientOptions()}
	switch {
	case c.Key != "":
		key, err := container.NewSharedKeyCredential(c.Account, c.Key)
		if err != nil {
			return nil, nil, fail.E(fail.Invalid, nil, "the account's key is not in base64").Hint("correct storage.azure.key: copy one of the account's two access keys")
		}
		client, err := container.NewClientWithSharedKeyCredential(at.String(), key, o)
		return client, nil, err
	case c.SAS != "":
		at.RawQuery = c.SAS
		client, err := container.NewClientWithNoCredential(at.String(), o)
		return client, nil, err
	}
	identity, err := c.identity(ctx)
	if err != nil {
		return nil, nil, fail.E(fail.Invalid, errors.New(brief(err.Error())), "no identity for Azure from the environment").
			Hint("give storage.azure.key or storage.azure.sas_token, or correct what the environment gives: AZURE_ variables, a workload identity, the machine's managed identity (storage.azure.client_id, if it has several)")
	}
	client, err := container.NewClient(at.String(), identity, o)
	if err != nil {
		return nil, nil, err
	}
	whole := &service.ClientOptions{ClientOptions: c.clientOptions()}
	if c.Endpoint != nil {
		whole.PerCallPolicies = append(whole.PerCallPolicies, elsewhere{c.Endpoint})
	}
	all, err := service.NewClient("https://"+c.Account+publicCloud, identity, whole)
	return client, all, err
}

// elsewhere sends the requests of a client of the public cloud to another address. The SDK takes the account's name, for which it signs URLs, from the client's host.
type elsewhere struct{ at *url.URL }

// Do sends one.
func (e elsewhere) Do(r *policy.Request) (*http.Response, error) {
	raw := r.Raw()
	at := e.at.JoinPath(raw.URL.Path)
	at.RawQuery = raw.URL.RawQuery
	raw.URL, raw.Host = at, at.Host
	return r.Next()
}

// identity answers the first that the surroundings offer, and proves that it gets a token: what the variables name, a pod's, the machine's. No other program is asked.
func (c *Config) identity(ctx context.Context) (azcore.TokenCredential, error) {
	o := policy.ClientOptions{
		Transport: c.HTTP, Retry: policy.RetryOptions{MaxRetries: tokenTries - 1, RetryDelay: firstPause}, Telemetry: policy.TelemetryOptions{ApplicationID: application},
	}
	var found azcore.TokenCredential
	if named, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: o}); err == nil {
		found = named
	} else if pod, podErr := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o, ClientID: c.ClientID}); podErr == nil {
		found = pod
	} else {
		machine := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
		if c.ClientID != "" {
			machine.ID = azidentity.ClientID(c.ClientID)
		}
		if found, err = azidentity.NewManagedIdentityCredential(machine); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, credentialPatience)
	defer cancel()
	_, err := found.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	return found, err
}

// retrying makes the policy of trying again: all that the server did not answer, and what it answered for want of strength.
func retrying(tries int32, pause time.Duration) policy.RetryOptions {
	return policy.RetryOptions{MaxRetries: tries - 1, RetryDelay: firstPause, MaxRetryDelay: pause, ShouldRetry: passing}
}

// writing makes the context of operations that hold a client's bytes.
func writing(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, retrying(writeTries, writePause))
}

// probing makes the context of operations at the start.
func probing(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, retrying(probeTries, readPause))
}

// passing says whether what came of a request may pass by itself.
func passing(answer *http.Response, err error) bool {
	if err != nil {
		var sent *url.Error
		return errors.As(err, &sent) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !egress.Hopeless(err)
	}
	switch s := answer.StatusCode; s {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return false
	default:
		return s >= http.StatusInternalServerError
	}
}
