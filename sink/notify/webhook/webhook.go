// Package webhook posts each alert as a JSON object to a URL.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Config says where to.
type Config struct {
	URL           string            `yaml:"url" doc:"where alerts are posted; empty means nowhere"`
	Headers       map[string]string `yaml:"headers" doc:"headers of each request"`
	Authorization daemon.Secret     `yaml:"authorization" doc:"value of the Authorization header"`
	Timeout       time.Duration     `yaml:"timeout" doc:"how long one attempt may take"`
}

// DefaultConfig posts nowhere.
func DefaultConfig() Config { return Config{Timeout: 10 * time.Second} }

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("webhook.url: want http://host/path or https://host/path")
	}
	if c.Timeout <= 0 {
		return errors.New("webhook.timeout must be above 0")
	}
	return nil
}

// Webhook is safe for concurrent use.
type Webhook struct {
	cfg    Config
	auth   string
	client *http.Client
}

var _ notify.Notifier = (*Webhook)(nil)

// New returns a Webhook. Redirects are not followed: they could lead an alert elsewhere.
func New(cfg Config) (*Webhook, error) {
	w := &Webhook{cfg: cfg, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if cfg.Authorization.IsSet() {
		var err error
		if w.auth, err = cfg.Authorization.Resolve(); err != nil {
			return nil, fmt.Errorf("read webhook.authorization: %w", err)
		}
	}
	return w, nil
}

// Name is "webhook".
func (*Webhook) Name() string { return "webhook" }

// Notify posts the alert. The alert's id is the Idempotency-Key: a receiver that knows it can drop a repetition.
func (w *Webhook) Notify(ctx context.Context, a *alertv1.Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return bus.Permanent(fmt.Errorf("encode alert %s: %w", a.ID, err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return bus.Permanent(err)
	}
	for k, v := range w.cfg.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", a.ID.String())
	if w.auth != "" {
		req.Header.Set("Authorization", w.auth)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			return ue.Err // without the URL, which may hold a secret
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	return statusError(resp)
}

func statusError(resp *http.Response) error {
	code := resp.StatusCode
	err := fmt.Errorf("the server answers %s", resp.Status)
	switch {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		if s, perr := strconv.Atoi(resp.Header.Get("Retry-After")); perr == nil && s > 0 {
			return &notify.RetryAfter{Err: err, After: time.Duration(min(s, 3600)) * time.Second}
		}
		return err
	default:
		return bus.Permanent(err)
	}
}
