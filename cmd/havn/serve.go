package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/server"
)

func (p *program) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: `Run the registry until SIGTERM or SIGINT.

With nothing configured it listens at 127.0.0.1:5000 and keeps everything below ./havn-data. The first start makes the user admin; its
password is HAVN_ADMIN_PASSWORD, or one that is made and shown. 'havn config reference' explains every setting.

SIGTERM and SIGINT let requests under way finish (http.drain_timeout), then the process ends with 0; a second one ends it at once.
SIGHUP loads the certificate again.

Exit codes:
  0    stopped by a signal, everything finished or was cut off in order
  1    it could not start, or something that must run ended
  2    the command line or the configuration can't be used; nothing was started
  130  a second SIGINT, 143 a second SIGTERM: ended at once`,
		Example: "  havn serve\n  HAVN_ADMIN_PASSWORD=… havn serve --http-addr :5000 --data-dir /var/lib/havn\n  havn serve --config /etc/havn/havn.yaml\n  havn serve --harbor-cfg harbor.cfg",
		Args:    noArguments,
	}
	load := p.settings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, warnings, err := load()
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to end
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		defer signal.Stop(reload)
		ctx, done := stopped(cmd.Context())
		defer done()
		s, err := server.New(ctx, server.Options{
			Config: c, Warnings: warnings, Version: buildVersion().Version, Stderr: p.err, Terminal: p.terminal, Reload: reload, Announce: p.announce(),
		})
		if err != nil {
			return failed(err)
		}
		return failed(s.Run(ctx))
	}
	return cmd
}

// stopped answers a context that the first SIGTERM or SIGINT ends. The second one ends the process.
func stopped(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		if sig, ok := (<-signals).(syscall.Signal); ok { // nil once done
			os.Exit(128 + int(sig))
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		close(signals)
	}
}
