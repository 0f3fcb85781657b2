package deployment

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	socketName = "lab.sock"
	// headerTime bounds how long somebody may take to say what he wants.
	headerTime = 10 * time.Second
	// closeTime is what answers under way get when the lab ends.
	closeTime = 5 * time.Second
	// maxRequest bounds what is read of a request or an answer.
	maxRequest = 1 << 20
)

// socket is where the verbs reach the process that looks after a lab: HTTP on a unix socket that only its owner may use.
type socket struct {
	server *http.Server
	ready  atomic.Bool   // everything was started
	over   chan struct{} // closed when nothing runs any more
}

// listen opens the socket. Down calls end.
func listen(ctx context.Context, end func(), d *Deployment) (*socket, error) {
	s := &socket{over: make(chan struct{})}
	path := filepath.Join(d.o.Dir, socketName)
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "socket of the lab")
	}
	if err = os.Chmod(path, 0o600); err != nil {
		return nil, fail.E(fail.Unavailable, errors.Join(err, l.Close()), "socket of the lab")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		if !s.ready.Load() {
			reply(w, Status{State: Starting, Since: d.since, Access: Access{Dir: d.o.Dir}}, nil)
			return
		}
		reply(w, d.status(r.Context()), nil)
	})
	for name, do := range map[string]verb{"kill": d.kill, "restart": d.restart, "partition": d.partition, "heal": d.heal} {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			text, verbErr := s.do(ctx, d, do, r)
			reply(w, Done{text}, verbErr)
		})
	}
	mux.HandleFunc("POST /down", func(w http.ResponseWriter, _ *http.Request) {
		end()
		<-s.over
		reply(w, Done{}, nil)
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
	go func() {
		if serveErr := s.server.Serve(l); !errors.Is(serveErr, http.ErrServerClosed) {
			d.say("the socket of the lab: %v", serveErr)
			end() // nobody could reach it any more
		}
	}()
	return s, nil
}

// do does a verb. It goes on when the one who asked gives up, and ends with the lab.
func (s *socket) do(ctx context.Context, d *Deployment, do verb, r *http.Request) (string, error) {
	var request Request
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest)).Decode(&request); err != nil {
		return "", fail.E(fail.Invalid, err, "request to the lab")
	}
	if !s.ready.Load() {
		return "", fail.E(fail.Unavailable, nil, "the lab is starting").Hint("`havn lab status` says when it is up")
	}
	d.verbs.Lock()
	defer d.verbs.Unlock()
	parts, err := d.named(request.Names)
	if err != nil {
		return "", err
	}
	return do(ctx, parts, request)
}

// refusal is an error on its way to another process.
type refusal struct {
	Kind fail.Kind `json:"kind"`
	Text string    `json:"text"`
	Hint string    `json:"hint"`
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		v = refusal{fail.KindOf(err), err.Error(), fail.HintOf(err)}
	}
	if json.NewEncoder(w).Encode(v) != nil {
		return // whoever asked is gone
	}
}

// close lets answers under way end: among them that to the one who asked for the end.
func (s *socket) close(ctx context.Context) {
	close(s.over)
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		return // the process ends now, and they with it
	}
}
