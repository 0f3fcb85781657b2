package redis

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// dialTime bounds a connection with its handshakes.
	dialTime = 500 * time.Millisecond
	// A connection on which nothing came for pingGap is asked for a sign of life, and given up when none comes within pingTime: that is how a server that hangs is
	// found out.
	pingGap  = 300 * time.Millisecond
	pingTime = 500 * time.Millisecond
	// refreshEvery is how often the cluster's slots and the Sentinels' master are read without a reason.
	refreshEvery = time.Second
	// maxRedirects ends a chase through nodes that each name another one.
	maxRedirects = 4
	// bufferBytes of a connection, in each direction: the library's own would be a MiB for each node.
	bufferBytes = 32 << 10
	// ringScale makes room for 2^8 commands under way on a connection.
	ringScale = 8
)

// library is a store by rueidis.
type library struct{ client rueidis.Client }

func (c *Client) options(addrs []string, user, password string) rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress: slices.Clone(addrs), Username: user, Password: password, TLSConfig: c.cfg.TLS, ClientName: "havn",
		Dialer: net.Dialer{Timeout: dialTime, KeepAlive: pingGap}, DialCtxFn: dialAndGreet, ConnWriteTimeout: pingTime,
		// One connection to each server, on which all commands are pipelined: one that takes too long must not cost the connection.
		AlwaysPipelining: true, PipelineMultiplex: -1, ReadBufferEachConn: bufferBytes, WriteBufferEachConn: bufferBytes, RingScaleEachConn: ringScale,
		DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
	}
}

// open makes a store of a known mode.
func (c *Client) open(mode Mode, addrs []string, master string) (store, error) {
	o := c.options(addrs, c.cfg.User, c.cfg.Password)
	switch mode {
	case Cluster:
		o.ShuffleInit = true
		o.ClusterOption = rueidis.ClusterOption{ShardsRefreshInterval: refreshEvery, MaxMovedRedirections: maxRedirects}
	case Sentinel:
		o.ShuffleInit = true
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: master, Username: c.cfg.SentinelUser, Password: c.cfg.SentinelPassword, ClientName: o.ClientName,
			Dialer: o.Dialer, TLSConfig: o.TLSConfig, TopologyRefreshInterval: refreshEvery,
		}
	case Auto, Single:
		o.ForceSingleClient = true
	}
	client, err := rueidis.NewClient(o)
	if err != nil {
		return nil, classify(err)
	}
	if mode == Cluster && client.Mode() != rueidis.ClientModeCluster {
		// The library takes a node that does not tell it the slots for a server alone.
		client.Close()
		return nil, fail.E(fail.Denied, nil, "the slots of the cluster can't be read").Hint("grant the user what docs/operations.md says")
	}
	return &library{client}, nil
}

func (l *library) get(ctx context.Context, key string) ([]byte, error) {
	value, err := l.client.Do(ctx, l.client.B().Get().Key(key).Build()).AsBytes()
	return value, classify(err)
}

func (l *library) set(ctx context.Context, key string, value []byte, life time.Duration) error {
	return classify(l.client.Do(ctx, l.client.B().Set().Key(key).Value(rueidis.BinaryString(value)).Px(life).Build()).Error())
}

func (l *library) run(ctx context.Context, script string, keys, args []string) ([]int64, error) {
	numbers, err := l.client.Do(ctx, l.client.B().Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()).AsIntSlice()
	return numbers, classify(err)
}

func (l *library) close() { l.client.Close() }
