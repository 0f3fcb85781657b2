package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"
)

// Secret is a text that prints as ***. Reveal answers it.
type Secret struct{ text string }

// hidden is what a secret prints as.
const hidden = "***"

// NewSecret makes a secret of a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal answers the secret itself, "" if there is none.
func (s Secret) Reveal() string { return s.text }

// String hides the secret; an empty one stays empty, so that one sees whether it is set.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Engine names a database engine.
type Engine string

// The engines. MySQL stands for MariaDB, MySQL and Galera clusters of either.
const (
	SQLite   Engine = "sqlite"
	MySQL    Engine = "mysql"
	Postgres Engine = "postgres"
)

// Driver names a kind of blob store.
type Driver string

// The drivers.
const (
	Filesystem Driver = "filesystem"
	Memory     Driver = "memory"
	S3Driver   Driver = "s3"
	GCS        Driver = "gcs" // Google's, by its S3-compatible API
	OSS        Driver = "oss" // Alibaba's, likewise

	SwiftDriver Driver = "swift"
	RADOSDriver Driver = "rados" // a pool of Ceph, in programs that are built with the tag rados
	AzureDriver Driver = "azure"
)

// LogFormat is the form of log lines.
type LogFormat string

// The formats.
const (
	Text LogFormat = "text"
	JSON LogFormat = "json"
)

// Config is the whole configuration, checked. Paths may be relative to the working directory. Sizes are bytes.
type Config struct {
	DataDir  string
	Admin    Admin
	Cluster  Cluster
	HA       HA
	HTTP     HTTP
	Metrics  Metrics
	Log      Log
	Database Database
	Storage  Storage
	Redis    Redis
	Registry Registry
	Projects Projects
	Uploads  Uploads
	Sweep    Sweep
	Live     Live
	Outbound Outbound
	Tracing  Tracing
	Memory   MemoryUse

	origins map[string]origin
}

// Admin is the user that the first start makes.
type Admin struct{ Password Secret }

// Cluster is what nodes that share a database have in common.
type Cluster struct {
	Secret Secret // "": the one in the data directory
}

// HA says what a node does without the stores that it shares with others.
type HA struct {
	StaleTags time.Duration // how old what a node knows of a tag may be, to be answered while the database is out of reach; 0: no such answers
}

// HTTP is how clients are served.
type HTTP struct {
	Addr            []string // host:port each, at least one
	PublicURL       *url.URL // nil: as the request was seen
	TLS             TLS
	TrustedProxies  []netip.Prefix
	HeaderTimeout   time.Duration
	ProgressTimeout time.Duration
	IdleTimeout     time.Duration
	MaxHeaderBytes  int64
	MaxConnections  int
	DrainDelay      time.Duration

	MaxConnectionsPerAddress int
	DrainTimeout             time.Duration
}

// TLS is the certificate of the listeners. Both files are given or none.
type TLS struct {
	Certificate, Key string
	MinVersion       uint16 // of crypto/tls
}

// Enabled reports whether the listeners speak TLS.
func (t TLS) Enabled() bool { return t.Certificate != "" }

// Metrics is the second address.
type Metrics struct{ Addr string }

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
	Access bool
}

// Database is the index.
type Database struct {
	Engine         Engine
	Path           string   // of SQLite's file; use Config.DatabasePath
	Hosts          []string // host:port each
	Discover       bool
	Name           string
	User           string
	Password       Secret
	TLS            ClientTLS // use its Effective mode
	MaxConnections int
}

// TLSMode says how much TLS is asked for.
type TLSMode string

// The modes.
const (
	TLSOff     TLSMode = "off"
	TLSRequire TLSMode = "require"
	TLSVerify  TLSMode = "verify"
)

// Storage is where blobs are.
type Storage struct {
	Driver     Driver
	Filesystem Directory
	LowDisk    int64  // 0: no watermark
	Prefix     string // of every object's name in a bucket, container or pool; no slash at its ends
	S3         S3
	Swift      Swift
	RADOS      RADOS
	Azure      Azure

	Redirect         bool
	RedirectNetworks []netip.Prefix // empty: all

	Cache ReadCache
}

// ReadCache is a directory for copies of blobs that are read often.
type ReadCache struct {
	Path string // "": none
	Size int64
}

// Directory is the place of the driver filesystem; use Config.BlobPath.
type Directory struct{ Path string }

// Registry is what pushes may do.
type Registry struct{ SparseIndex bool }

// Projects is how projects come to be.
type Projects struct{ CreateOnPush bool }

// Uploads are the limits of pushes.
type Uploads struct {
	ExpireAfter   time.Duration
	MaxPerSubject int
	MaxObjectSize int64
}

// Sweep is when what is over goes away.
type Sweep struct {
	Interval       time.Duration
	OrphanInterval time.Duration // 0: never
	SafeTime       time.Duration
	DeadGrace      time.Duration
}

// Outbound is how Havn calls others.
type Outbound struct {
	Proxy   *url.URL // nil: none
	NoProxy []string // what is reached without Proxy
	CAFile  string
}

// Tracing is where traces go.
type Tracing struct {
	OTLPEndpoint *url.URL // nil: no traces
	Sample       float64  // 0 to 1
}

// MemoryUse is what the Go runtime aims at.
type MemoryUse struct{ Limit int64 }

// DatabasePath answers where SQLite's file is.
func (c *Config) DatabasePath() string {
	if c.Database.Path != "" {
		return c.Database.Path
	}
	return filepath.Join(c.DataDir, "havn.db")
}

// BlobPath answers where the driver filesystem keeps its objects.
func (c *Config) BlobPath() string {
	if c.Storage.Filesystem.Path != "" {
		return c.Storage.Filesystem.Path
	}
	return filepath.Join(c.DataDir, "blobs")
}

// Default answers the configuration of a start with nothing configured.
func Default() *Config {
	c := &Config{origins: map[string]origin{}}
	for _, k := range keys() {
		if err := k.set(c, k.fallback); err != nil {
			panic("config: the default of " + k.path + " is refused: " + err.Error()) // a test reads the whole table
		}
		c.origins[k.path] = origin{source: fromDefault}
	}
	return c
}
