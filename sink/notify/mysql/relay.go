package mysql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// relay stands between the client library and the server, on a loopback port that takes one connection. It reads what the server
// says until the login is over or TLS begins, for what the library does not refuse itself: a greeting that it cannot read, and a
// server that asks for the password in clear text where there is no TLS. What is sent by TLS passes unread.
type relay struct {
	server   net.Conn
	listener net.Listener
	tls      bool

	mu     sync.Mutex
	client net.Conn
	closed bool
	err    error
}

// dialRelay connects to the server at addr (host:port). The relay ends when either side closes, or at Close.
func dialRelay(ctx context.Context, addr string, tls bool) (*relay, error) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the client: %w", err), server.Close())
	}
	r := &relay{server: server, listener: listener, tls: tls}
	go r.run()
	return r, nil
}

// port is where the client library connects to, on 127.0.0.1.
func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// run passes bytes until an end closes.
func (r *relay) run() {
	defer r.Close()
	client, err := r.listener.Accept()
	if err != nil || !r.accepted(client) {
		return
	}
	go func() {
		defer r.Close()
		_, _ = io.Copy(r.server, client) // its end is seen by the client library
	}()
	in := bufio.NewReader(r.server)
	if err := r.login(in, client); err != nil {
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
		return
	}
	_, _ = io.Copy(client, in)
}

// accepted takes the client's connection, unless the relay is closed already.
func (r *relay) accepted(client net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = client.Close()
		return false
	}
	r.client = client
	return r.listener.Close() == nil
}

// login passes the packets of the login that are in order.
func (r *relay) login(in *bufio.Reader, client io.Writer) error {
	check := func(body []byte) (bool, error) { return r.tls, checkGreeting(body, r.tls) }
	for range maxLogin {
		packet, err := readPacket(in)
		if err != nil {
			return err
		}
		done, err := check(packet[headerSize:])
		if err != nil {
			return err
		}
		if _, err := client.Write(packet); err != nil || done {
			return nil //nolint:nilerr // the client library went away, and knows why
		}
		check = checkLogin
	}
	return errors.New("the server's login does not end")
}

// refused says why the relay ended the login, nil if it did not.
func (r *relay) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// finish has the relay end when what the client has sent is passed on, or soon anyway.
func (r *relay) finish() { _ = r.server.SetDeadline(time.Now().Add(closeTime)) }

// Close ends both connections.
func (r *relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	_, _ = r.listener.Close(), r.server.Close() // nothing is waited for any more
	if r.client != nil {
		_ = r.client.Close()
	}
}
