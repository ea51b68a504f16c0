package intel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// ErrFetch is wrapped by errors of servers that lists come from.
var ErrFetch = errors.New("list of indicators was not fetched")

// fetched is what a source had. Unchanged means that it is what it was at the last time.
type fetched struct {
	parsed    intelv1.Parsed
	etag      string
	unchanged bool
}

// fetch reads a list. etag is that of the last time, "" for none.
func (f *Feeder) fetch(ctx context.Context, l List, etag string) (fetched, error) {
	if l.File != "" {
		return f.readFile(l, etag)
	}
	// What cannot succeed is not tried again: see get.
	return backoff.Retry(ctx, func() (fetched, error) { return f.get(ctx, l, etag) },
		backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(f.cfg.Retry),
		backoff.WithNotify(func(error, time.Duration) { f.m.reads.WithLabelValues(l.Name, "retried").Inc() }))
}

func (f *Feeder) source(l List, name string) intelv1.Source {
	t, _ := intelv1.ParseType(l.Type) // checked by Validate
	return intelv1.Source{Name: name, Type: t, Column: l.Column, MaxEntries: f.cfg.MaxEntries}
}

func (f *Feeder) readFile(l List, stamp string) (fetched, error) {
	file, err := os.Open(l.File)
	if err != nil {
		return fetched{}, fmt.Errorf("read list %s: %w", l.Name, err)
	}
	defer func() { _ = file.Close() }()
	st, err := file.Stat()
	if err != nil {
		return fetched{}, fmt.Errorf("read list %s: %w", l.Name, err)
	}
	if !st.Mode().IsRegular() || st.Size() > int64(f.cfg.MaxBytes) {
		return fetched{}, fmt.Errorf("read list %s: %s is no regular file of at most %s", l.Name, l.File, f.cfg.MaxBytes)
	}
	now := fmt.Sprint(st.ModTime().UnixNano(), " ", st.Size())
	if now == stamp {
		return fetched{etag: now, unchanged: true}, nil
	}
	p, err := intelv1.Parse(io.LimitReader(file, int64(f.cfg.MaxBytes)), f.source(l, l.File))
	if err != nil {
		return fetched{}, fmt.Errorf("read list %s: %w", l.Name, err)
	}
	return fetched{parsed: p, etag: now}, nil
}

// get makes one attempt. The address may hold a secret and is in no error.
func (f *Feeder) get(ctx context.Context, l List, etag string) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	raw, err := l.address()
	if err != nil {
		return fetched{}, backoff.Permanent(fmt.Errorf("%w: list %s: %w", ErrFetch, l.Name, err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, raw, nil)
	if err != nil {
		return fetched{}, backoff.Permanent(fmt.Errorf("%w: list %s: bad url", ErrFetch, l.Name))
	}
	req.Header.Set("User-Agent", "gyre-enricher")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	res, err := f.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fetched{}, fmt.Errorf("%w: list %s: %w", ErrFetch, l.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotModified:
		return fetched{etag: etag, unchanged: true}, nil
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 500:
		err := fmt.Errorf("%w: list %s: the server answers %s", ErrFetch, l.Name, res.Status)
		if n, perr := strconv.Atoi(res.Header.Get("Retry-After")); perr == nil && n > 0 && n < 3600 {
			return fetched{}, errors.Join(err, backoff.RetryAfter(n))
		}
		return fetched{}, err
	case res.StatusCode != http.StatusOK:
		return fetched{}, backoff.Permanent(fmt.Errorf("%w: list %s: the server answers %s", ErrFetch, l.Name, res.Status))
	case res.ContentLength > int64(f.cfg.MaxBytes):
		return fetched{}, backoff.Permanent(fmt.Errorf("%w: list %s: %d bytes, at most %s are allowed", ErrFetch, l.Name, res.ContentLength, f.cfg.MaxBytes))
	}
	body := &bounded{r: res.Body, left: int64(f.cfg.MaxBytes)}
	p, err := intelv1.Parse(body, f.source(l, "list "+l.Name))
	switch {
	case body.over:
		return fetched{}, backoff.Permanent(fmt.Errorf("%w: list %s: more than %s", ErrFetch, l.Name, f.cfg.MaxBytes))
	case body.err != nil:
		return fetched{}, fmt.Errorf("%w: list %s: %w", ErrFetch, l.Name, body.err)
	case err != nil:
		return fetched{}, backoff.Permanent(err)
	}
	return fetched{parsed: p, etag: res.Header.Get("ETag")}, nil
}

// bounded reads at most so many bytes, and remembers why it ended.
type bounded struct {
	r    io.Reader
	left int64
	over bool
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.over = true
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
