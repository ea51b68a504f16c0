package s3

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestS3(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("alerts"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(srv.Close)
	settings := func(_ testing.TB, addr string) notify.Settings {
		c := Default()
		c.URL, c.Bucket, c.AccessKey, c.SecretKey = "http://"+addr, "alerts", daemon.NewSecret("id"), daemon.NewSecret(notifytest.Secret)
		return c
	}
	seen := map[string]bool{}
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: strings.TrimPrefix(srv.URL, "http://"), Settings: settings,
		Received: func(t testing.TB, n int) [][]byte {
			list, err := backend.ListBucket("alerts", nil, gofakes3.ListBucketPage{})
			if err != nil {
				t.Fatal(err)
			}
			var out [][]byte
			for _, o := range list.Contents {
				if seen[o.Key] {
					continue
				}
				seen[o.Key] = true
				if !strings.HasPrefix(o.Key, "gyre/2026/05/28/20/") || !strings.HasSuffix(o.Key, ".jsonl.gz") {
					t.Errorf("object %s", o.Key)
				}
				got, err := backend.GetObject("alerts", o.Key, nil)
				if err != nil {
					t.Fatal(err)
				}
				z, err := gzip.NewReader(got.Contents)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))...)
			}
			if len(out) != n {
				t.Fatalf("%d alerts, want %d", len(out), n)
			}
			return out
		},
	})
	t.Run("no bucket", func(t *testing.T) {
		c := settings(t, strings.TrimPrefix(srv.URL, "http://")).(*Config)
		c.Bucket = "gone"
		err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})
}
