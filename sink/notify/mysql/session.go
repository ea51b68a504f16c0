package mysql

import (
	"context"
	"fmt"
	"net"
	"time"

	client "github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/vt/vttls"
)

// maxIdle is how long a session may wait before it is made anew: servers and what is on the way to them end idle connections.
const maxIdle = time.Minute

// settings of a session. Values are escaped with backslashes, so NO_BACKSLASH_ESCAPES must not be in force whatever the server's default.
const settings = "SET NAMES utf8mb4, SESSION time_zone = '+00:00', SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"

// session is a connection that is logged in.
type session struct {
	conn  *client.Conn
	relay *relay
	used  time.Time
}

// open connects, logs in and sets the session up.
func (c *Config) open(ctx context.Context, password string) (*session, error) {
	r, err := dialRelay(ctx, c.Address, c.TLS)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(c.Address)
	p := &client.ConnParams{Host: "127.0.0.1", Port: r.port(), Uname: c.User, Pass: password, DbName: c.Database, Charset: "utf8mb4", SslMode: vttls.Disabled}
	if c.TLS {
		p.SslMode, p.ServerName, p.TLSMinVersion = vttls.VerifyIdentity, host, "TLSv1.2"
		p.SslCa, p.SslCert, p.SslKey = c.CAFile, c.CertFile, c.KeyFile
	}
	conn, err := client.Connect(ctx, p)
	if err != nil {
		r.Close()
		if refused := r.refused(); refused != nil && ctx.Err() == nil {
			err = refused
		}
		return nil, fmt.Errorf("log in: %w", err)
	}
	s := &session{conn: conn, relay: r}
	if err := s.exec(ctx, settings); err != nil {
		s.close()
		return nil, fmt.Errorf("set the session up: %w", err)
	}
	return s, nil
}

// exec runs a statement that returns no rows. The session cannot be used after an error, nor after ctx has ended.
func (s *session) exec(ctx context.Context, statement string) (err error) {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	defer func() {
		if r := recover(); r != nil { // the client library reads some packets without a check of their size
			err = fmt.Errorf("the server's answer cannot be read: %v", r)
		}
	}()
	stop := context.AfterFunc(ctx, s.relay.Close)
	_, err = s.conn.ExecuteFetch(statement, 0, false)
	if !stop() {
		return ctx.Err()
	}
	s.used = time.Now()
	return err
}

// idle reports whether the session was not used for long.
func (s *session) idle() bool { return time.Since(s.used) > maxIdle }

// closeTime bounds how long the end of a session may take.
const closeTime = time.Second

// close ends the session as servers want it: otherwise they log a warning. It does not wait for the server.
func (s *session) close() {
	_ = s.conn.Conn.SetWriteDeadline(time.Now().Add(closeTime))
	_, _ = s.conn.Conn.Write([]byte{1, 0, 0, 0, client.ComQuit}) // its failure means that the connection has ended already
	s.relay.finish()
	s.conn.Close()
}
