// Package up is the whole pipeline in one process: the same assembly as the four
// stage programs, over an embedded NATS server and an embedded ClickHouse.
package up

import (
	"log/slog"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/sink"
	clickhouse "github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// Config is all sections of the configuration file.
type Config struct {
	Up        Section
	NATS      bus.Config
	Collector collector.Config
	Enricher  enricher.Config
	Evaluator evaluator.Config
	Sink      sink.Config
	Admin     daemon.AdminConfig
	Log       daemon.LogConfig
}

// Section is the section "up": what only the all-in-one program has.
type Section struct {
	NATS       embedded.Config   `yaml:"nats" doc:"the embedded NATS server"`
	ClickHouse clickhouse.Config `yaml:"clickhouse" doc:"the embedded ClickHouse"`
}

// DefaultConfig watches this host and writes alerts to standard output.
func DefaultConfig() *Config {
	c := &Config{
		Up: Section{NATS: embedded.DefaultConfig()}, NATS: bus.DefaultConfig(), Collector: collector.DefaultConfig(), Enricher: enricher.DefaultConfig(),
		Evaluator: evaluator.DefaultConfig(), Sink: sink.DefaultConfig(), Admin: daemon.DefaultAdminConfig(), Log: daemon.DefaultLogConfig(),
	}
	c.Log.Level = slog.LevelWarn
	c.Sink.Stdout.Enabled = true
	return c
}

// Sections names the parts for the loader of configuration.
func (c *Config) Sections() map[string]any {
	return map[string]any{
		"up": &c.Up, "nats": &c.NATS, "collector": &c.Collector, "enricher": &c.Enricher, "evaluator": &c.Evaluator, "sink": &c.Sink, "admin": &c.Admin, "log": &c.Log,
	}
}
