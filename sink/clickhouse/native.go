package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	chgo "github.com/ClickHouse/ch-go"
	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// native sends inserts over connections of its own with columns made beforehand. The client for queries looks at each value
// by reflection, which costs several times what the server needs.
type native struct {
	servers []chgo.Options
	next    atomic.Uint32
	idle    chan *chgo.Client
}

// newNative returns nil if the options ask for something that only the client for queries can do.
func newNative(o *ch.Options) *native {
	if o.Protocol != ch.Native || o.GetJWT != nil || o.HTTPProxyURL != nil || len(o.Addr) == 0 {
		return nil
	}
	n := &native{idle: make(chan *chgo.Client, 4)}
	for _, addr := range o.Addr {
		s := chgo.Options{
			Address: addr, Database: o.Auth.Database, User: o.Auth.Username, Password: o.Auth.Password, TLS: o.TLS, Compression: chgo.CompressionLZ4,
			ClientName: "gyre", DialTimeout: o.DialTimeout, HandshakeTimeout: 10 * time.Second,
		}
		for k, v := range o.Settings {
			s.Settings = append(s.Settings, chgo.Setting{Key: k, Value: fmt.Sprint(v)})
		}
		n.servers = append(n.servers, s)
	}
	return n
}

// do runs a query, over a fresh connection if an idle one turns out to be broken: queries may be repeated.
func (n *native) do(ctx context.Context, q chgo.Query) error {
	for {
		select {
		case c := <-n.idle:
			err := n.on(ctx, c, q)
			if err == nil || chgo.IsException(err) || ctx.Err() != nil {
				return err
			}
			continue
		default:
		}
		c, err := n.dial(ctx)
		if err != nil {
			return err
		}
		return n.on(ctx, c, q)
	}
}

// on runs a query on a connection, and keeps that if it is good for another.
func (n *native) on(ctx context.Context, c *chgo.Client, q chgo.Query) error {
	err := c.Do(ctx, q)
	if err == nil && !c.IsClosed() {
		select {
		case n.idle <- c:
			return nil
		default:
		}
	}
	_ = c.Close() // of a connection that is done with
	return err
}

// dial connects to the first server that answers, beginning with the one that did last.
func (n *native) dial(ctx context.Context) (*chgo.Client, error) {
	var errs []error
	for range n.servers {
		at := n.next.Load()
		o := n.servers[int(at)%len(n.servers)]
		c, err := chgo.Dial(ctx, o)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%w at %s: %w", ErrConnect, o.Address, err))
		n.next.CompareAndSwap(at, at+1)
	}
	return nil, errors.Join(errs...)
}

func (n *native) close() {
	for {
		select {
		case c := <-n.idle:
			_ = c.Close() // nothing is under way on it
		default:
			return
		}
	}
}
