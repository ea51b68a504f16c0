package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/bus/embedded"
	clickhouse "github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// servers are a NATS in this process and a ClickHouse child.
type servers struct {
	nats            *embedded.Server
	ch              *clickhouse.Server
	bus             *bus.Bus
	url, token, dsn string
}

func startServers(ctx context.Context, dir string) (*servers, error) {
	cfg := embedded.DefaultConfig()
	cfg.Dir = filepath.Join(dir, "nats")
	s := &servers{}
	var err error
	if s.nats, err = embedded.Start(cfg, bustest.Log()); err != nil {
		return nil, err
	}
	if s.bus, err = bus.ConnectInProcess(ctx, s.nats, bus.DefaultConfig(), bustest.Log(), prometheus.NewRegistry()); err != nil {
		return nil, err
	}
	if err := s.bus.Ensure(ctx); err != nil {
		return nil, err
	}
	if s.ch, err = clickhouse.Start(ctx, clickhouse.Config{Dir: filepath.Join(dir, "clickhouse")}, bustest.Log()); err != nil {
		return nil, err
	}
	s.url, s.token, s.dsn = s.nats.URL(), s.nats.Token(), s.ch.DSN()
	return s, nil
}

func (s *servers) stop() {
	s.bus.Close()
	_ = s.ch.Stop(context.Background()) // the process ends next
	s.nats.Stop()
}

func isChild() bool { return len(os.Args) > 1 && os.Args[1] == clickhouse.ChildArg }

func childMain() int { return clickhouse.ChildMain(os.Args[2:]) }
