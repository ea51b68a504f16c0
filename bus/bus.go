// Package bus is the NATS half of the contract between the stages: streams and
// consumers as data, publishing with every result checked, work loops that
// acknowledge what is done and dead-letter what can never be, key-value buckets,
// and readers of the past.
//
// Delivery is at least once. What makes it exactly once in effect are ids: every
// message carries Nats-Msg-Id, and every output is idempotent. A message is
// acknowledged only when its output is; what fails for good goes to the DEAD
// stream with the reason; what may succeed later is tried again with back-off.
//
// Only this module imports the NATS client. A [Bus] is safe for concurrent use.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors that callers tell apart.
var (
	// ErrConnect: no NATS server could be reached, or it refused the credentials.
	ErrConnect = errors.New("connect to NATS")
	// ErrNotFound: the key, bucket or stream is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a key was changed by somebody else first.
	ErrConflict = errors.New("revision conflict")
	// ErrTopology: an existing stream or bucket differs in a way that this program will not change by itself.
	ErrTopology = errors.New("topology conflict")
)

// InProcess is a server in this process, such as [github.com/gyre-sec/gyre/bus/embedded.Server].
type InProcess interface {
	InProcessConn() (net.Conn, error)
}

// Bus is a connection to NATS with JetStream.
type Bus struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	cfg     Config
	log     *slog.Logger
	metrics *metrics
}

// Connect connects to the servers of cfg.URL. It fails when none answers in time;
// afterwards it reconnects for ever.
func Connect(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Bus, error) {
	return connect(ctx, cfg, nil, log, reg)
}

// ConnectLater is [Connect] for a program that has work to do without a server: if none answers it returns all the same, and
// goes on trying for as long as the Bus is open. What needs a server fails until then. Credentials that a server refuses,
// and a server without JetStream, are errors at once.
func ConnectLater(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Bus, error) {
	b, err := connect(ctx, cfg, nil, log, reg)
	if err == nil || !errors.Is(err, ErrConnect) || refused(err) {
		return b, err
	}
	log.Warn("NATS is away", "err", err)
	return connect(ctx, cfg, nil, log, reg, nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort())
}

// refused tells whether a server answered, and did not want this client.
func refused(err error) bool {
	for _, e := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired, jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// EnsureLater is [Bus.Ensure], again and again until it has worked or ctx has ended. [ErrTopology] is not tried again.
func (b *Bus) EnsureLater(ctx context.Context) error {
	ensure := func() (struct{}, error) {
		err := b.Ensure(ctx)
		if errors.Is(err, ErrTopology) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, ensure, backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			if b.nc.IsConnected() {
				b.log.Warn("streams are not there yet", "err", err, "wait", wait)
			}
		}))
	return unwrapBackoff(err)
}

// ConnectInProcess connects to a server in this process; cfg.URL is not used.
func ConnectInProcess(ctx context.Context, srv InProcess, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Bus, error) {
	return connect(ctx, cfg, srv, log, reg)
}

func connect(ctx context.Context, cfg Config, srv InProcess, log *slog.Logger, reg prometheus.Registerer, more ...nats.Option) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Bus{cfg: cfg, log: log, metrics: newMetrics(reg)}
	opts, err := b.options(srv)
	if err != nil {
		return nil, err
	}
	url := cfg.URL
	if srv != nil {
		url = ""
	}
	if b.nc, err = nats.Connect(url, append(opts, more...)...); err != nil {
		return nil, connectError(cfg, err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(1<<16), jetstream.WithPublishAsyncTimeout(cfg.PublishTimeout)); err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	if !b.nc.IsConnected() {
		return b, nil // later
	}
	if _, err := b.js.AccountInfo(ctx); err != nil {
		b.nc.Close()
		return nil, connectError(cfg, fmt.Errorf("ask for JetStream: %w", err))
	}
	return b, nil
}

func (b *Bus) options(srv InProcess) ([]nats.Option, error) {
	cfg := b.cfg
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // a publish while away fails at once and is tried again by us
		nats.Timeout(cfg.ConnectTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.metrics.connErrors.Inc()
			b.log.Warn("nats error", "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("nats disconnected", "err", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { b.log.Info("nats reconnected", "server", nc.ConnectedServerName()) }),
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	if srv != nil {
		opts = append(opts, nats.InProcessServer(srv))
		if t, ok := srv.(interface{ Token() string }); ok {
			opts = append(opts, nats.Token(t.Token()))
		}
		return opts, nil
	}
	if cfg.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(cfg.CredsFile))
	}
	if cfg.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read nkey seed %s: %w", cfg.NKeyFile, err)
		}
		opts = append(opts, o)
	}
	if cfg.Token.IsSet() {
		t, err := cfg.Token.Resolve()
		if err != nil {
			return nil, fmt.Errorf("read nats token: %w", err)
		}
		opts = append(opts, nats.Token(t))
	}
	if cfg.TLS.CAFile != "" {
		opts = append(opts, nats.RootCAs(cfg.TLS.CAFile))
	}
	if cfg.TLS.CertFile != "" {
		opts = append(opts, nats.ClientCert(cfg.TLS.CertFile, cfg.TLS.KeyFile))
	}
	return opts, nil
}

// hinted is an error with a remedy.
type hinted struct {
	error
	remedy string
}

// Remedy says what the operator can do.
func (h hinted) Remedy() string { return h.remedy }

// Unwrap returns the error.
func (h hinted) Unwrap() error { return h.error }

func connectError(cfg Config, err error) error {
	remedy := "start the server, or name another one with nats.url"
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		remedy = "the server refuses these credentials: check nats.creds_file, nats.nkey_file or nats.token_file"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		remedy = "enable JetStream for this account on the server (jetstream { store_dir: ... })"
	}
	return hinted{fmt.Errorf("%w at %s: %w", ErrConnect, cfg.URL, err), remedy}
}

// Ready reports whether the connection stands.
func (b *Bus) Ready() error {
	if s := b.nc.Status(); s != nats.CONNECTED {
		return fmt.Errorf("nats is %s", s)
	}
	return nil
}

// MaxPayload is the largest message that the server takes, in bytes.
func (b *Bus) MaxPayload() int { return int(b.nc.MaxPayload()) }

// Close closes the connection at once. Workers and publishers must have ended: they drain, this does not.
func (b *Bus) Close() {
	b.nc.SetDisconnectErrHandler(nil)
	b.nc.Close()
}

// permanent marks an error that the same input gives again.
type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks err: the same input will fail again, so it is dead-lettered rather than tried again.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent tells whether err, or one that it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}
