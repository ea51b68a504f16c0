// Package s3 writes alerts as objects of JSON lines to an S3-compatible store.
package s3

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	URL       string        `yaml:"url" doc:"the store, as https://s3.eu-central-1.amazonaws.com"`
	Region    string        `yaml:"region" doc:"region"`
	Bucket    string        `yaml:"bucket" doc:"bucket; it must be there"`
	Prefix    string        `yaml:"prefix" doc:"start of the names of objects"`
	AccessKey daemon.Secret `yaml:"access_key" doc:"access key id; without it the machine's role is used"`
	SecretKey daemon.Secret `yaml:"secret_key" doc:"secret access key"`
	Format    format.Format `yaml:"format" doc:"gyre, falco or cloudevents"`
	Gzip      bool          `yaml:"gzip" doc:"compress objects"`
	CAFile    string        `yaml:"ca_file" doc:"certificates of the authorities that sign the store's"`
}

// Default compresses.
func Default() *Config {
	return &Config{Region: "us-east-1", Prefix: "gyre/", Format: format.Gyre, Gzip: true}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var keys error
	if c.AccessKey.IsSet() != c.SecretKey.IsSet() {
		keys = errors.New("access_key and secret_key go together")
	}
	return errors.Join(web.CheckURL("url", c.URL), web.Required("bucket", c.Bucket != ""), keys)
}

// Batch makes an object of what comes in 30 s.
func (*Config) Batch() (int, time.Duration) { return 5000, 30 * time.Second }

type store struct {
	cfg    *Config
	client *minio.Client
	hide   *strings.Replacer
}

// Open reads the keys.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	access, err := c.AccessKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("access_key: %w", err)
	}
	secret, err := c.SecretKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("secret_key: %w", err)
	}
	t, err := web.Config{CAFile: c.CAFile}.TLS()
	if err != nil {
		return nil, err
	}
	tr := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be one
	tr.TLSClientConfig = t
	creds := credentials.NewIAM("")
	if access != "" {
		creds = credentials.NewStaticV4(access, secret, "")
	}
	host, plain := strings.CutPrefix(strings.TrimRight(c.URL, "/"), "http://")
	client, err := minio.New(strings.TrimPrefix(host, "https://"), &minio.Options{Creds: creds, Secure: !plain, Region: c.Region, Transport: tr, MaxRetries: 1})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	pairs := []string{}
	if secret != "" {
		pairs = append(pairs, secret, "<secret>")
	}
	return &store{c, client, strings.NewReplacer(pairs...)}, nil
}

// Notify writes one object. Its name comes from the alerts: a repetition of the batch writes the same object again.
func (s *store) Notify(ctx context.Context, batch []notify.Message) error {
	var b bytes.Buffer
	for i := range batch {
		line, err := s.cfg.Format.Append(nil, &batch[i])
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	name := s.cfg.Prefix + batch[0].Alert.When().Format("2006/01/02/15/") + notify.BatchKey(batch) + ".jsonl"
	opts := minio.PutObjectOptions{ContentType: "application/x-ndjson", DisableMultipart: true}
	if s.cfg.Gzip {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b.Bytes()); err != nil {
			return bus.Permanent(err)
		}
		if err := w.Close(); err != nil {
			return bus.Permanent(err)
		}
		b, name, opts.ContentEncoding = z, name+".gz", "gzip"
	}
	_, err := s.client.PutObject(ctx, s.cfg.Bucket, name, &b, int64(b.Len()), opts)
	return s.classify(ctx, err)
}

// classify: only what is said of the object itself is final.
func (s *store) classify(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	r := minio.ToErrorResponse(err)
	err = errors.New(notify.Cut(notify.Clean(s.hide.Replace(err.Error())), 300))
	switch r.Code {
	case "EntityTooLarge", "KeyTooLongError", "InvalidDigest", "BadDigest":
		return bus.Permanent(err)
	}
	return daemon.Hint(err, "check url, bucket and keys of the output")
}
