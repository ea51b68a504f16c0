package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// TestTLS: the server's certificate is verified, and the client's is shown.
func TestTLS(t *testing.T) {
	ca := notifytest.NewCA(t)
	certFile, keyFile := ca.Issue("client")
	var who string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { who = r.TLS.PeerCertificates[0].Subject.CommonName }))
	cert, err := tls.LoadX509KeyPair(ca.Issue("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	defer srv.Close()
	c := Default()
	c.URL = srv.URL
	send := func() error {
		return notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
	}
	if err := send(); err == nil || bus.IsPermanent(err) {
		t.Errorf("an unknown authority: %v", err)
	}
	c.CAFile, c.CertFile, c.KeyFile = ca.File, certFile, keyFile
	if err := send(); err != nil || who != "client" {
		t.Errorf("got %v from %q", err, who)
	}
}
