package collector

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/collector/dnsname"
	"github.com/gyre-sec/gyre/collector/exehash"
	"github.com/gyre-sec/gyre/collector/policy"
	"github.com/gyre-sec/gyre/daemon"
)

// ErrConfig is wrapped by what [Config.Validate] returns.
var ErrConfig = errors.New("invalid collector configuration")

// Config says what to capture and how to send it.
type Config struct {
	Node        string            `yaml:"node" doc:"name of this node; empty means the host's name"`
	Source      string            `yaml:"source" doc:"where events come from: live, or recorded:FILE"`
	ReplaySpeed float64           `yaml:"replay_speed" doc:"pace of a recording: 1 as it was, 0 as fast as possible"`
	Mode        string            `yaml:"mode" doc:"how to attach to the kernel: auto, trampoline or tracepoint"`
	RingBuffer  daemon.Bytes      `yaml:"ring_buffer" doc:"memory for events between kernel and collector; a power of two"`
	Capture     policy.Policy     `yaml:"capture" doc:"what to capture, as long as the bucket config does not say otherwise: see gyre capture"`
	ExcludePIDs []uint32          `yaml:"exclude_pids" doc:"processes to pass over, with what they start; the collector itself always is"`
	BatchEvents int               `yaml:"batch_events" doc:"a batch is sent when it holds this many events"`
	BatchBytes  daemon.Bytes      `yaml:"batch_bytes" doc:"a batch is sent when it is this large, before compression"`
	BatchDelay  time.Duration     `yaml:"batch_delay" doc:"a batch is sent this long after its first event at the latest"`
	Spool       daemon.Bytes      `yaml:"spool" doc:"memory for batches while NATS is away; the oldest are dropped first, unless they are on disk"`
	SpoolDir    string            `yaml:"spool_dir" doc:"directory for batches that memory cannot hold or that a restart must not lose; empty means memory only"`
	SpoolDisk   daemon.Bytes      `yaml:"spool_disk" doc:"bound of the files in spool_dir; the oldest are dropped first"`
	SpoolSync   string            `yaml:"spool_sync" doc:"when batches in spool_dir are synced against a power cut: always, never, or an interval"`
	SpoolKeep   time.Duration     `yaml:"spool_keep" doc:"how long batches stay in spool_dir after NATS has acknowledged them; a restart sends them again under the same id"`
	InFlight    int               `yaml:"in_flight" doc:"batches that may be on their way to NATS at once"`
	MaxProcs    int               `yaml:"max_processes" doc:"bound of the process table"`
	StopTimeout time.Duration     `yaml:"stop_timeout" doc:"how long a stop may take to send what is left"`
	Drop        bool              `yaml:"drop_privileges" doc:"gyre-collector gives up all capabilities that capture does not need, and refuses itself system calls such as execve, once it runs"`
	Containers  container.Config  `yaml:"containers" doc:"where the facts about this node's containers come from"`
	Labels      map[string]string `yaml:"labels" doc:"labels of this node, for rules (node.label) and queries"`
	Cloud       bool              `yaml:"cloud" doc:"ask the metadata service of AWS, Google Cloud or Azure at 169.254.169.254 where this machine runs"`
	Hash        exehash.Config    `yaml:"hash" doc:"sums of program files"`
	DNS         dnsname.Config    `yaml:"dns" doc:"names of addresses"`
	// ActionsPolicy is the file that [action.LoadPolicy] reads.
	ActionsPolicy string `yaml:"actions_policy" doc:"file that says which response actions this node allows; empty means none"`
}

const recordedPrefix = "recorded:"

// DefaultConfig captures everything on this host.
func DefaultConfig() Config {
	return Config{
		Source: "live", ReplaySpeed: 1, Mode: "auto", RingBuffer: 8 * daemon.MiB,
		BatchEvents: 1024, BatchBytes: 64 * daemon.KiB, BatchDelay: 10 * time.Millisecond,
		Spool: 64 * daemon.MiB, SpoolDisk: daemon.GiB, SpoolSync: "1s", SpoolKeep: 2 * time.Minute, InFlight: 64, MaxProcs: 1 << 18, StopTimeout: 2 * time.Second, Drop: true,
		Capture: policy.Default(), Containers: container.DefaultConfig(), Hash: exehash.DefaultConfig(), DNS: dnsname.DefaultConfig(),
	}
}

// Validate checks everything that can be checked without the kernel.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if file, recorded := strings.CutPrefix(c.Source, recordedPrefix); c.Source != "live" && (!recorded || file == "") {
		add("source is %q, want live or recorded:FILE", c.Source)
	}
	if !(c.ReplaySpeed >= 0) || math.IsInf(c.ReplaySpeed, 0) {
		add("replay_speed is %v, want 0 or more", c.ReplaySpeed)
	}
	switch c.Mode {
	case "auto", "trampoline", "tracepoint":
	default:
		add("mode is %q, want auto, trampoline or tracepoint", c.Mode)
	}
	if c.RingBuffer < 64*daemon.KiB || c.RingBuffer > daemon.GiB || c.RingBuffer&(c.RingBuffer-1) != 0 {
		add("ring_buffer is %s, want a power of two from 64KiB to 1GiB", c.RingBuffer)
	}
	if err := daemon.At("capture", c.Capture.Validate()); err != nil {
		errs = append(errs, err)
	}
	if err := daemon.At("containers", c.Containers.Validate()); err != nil {
		errs = append(errs, err)
	}
	for k, v := range c.Labels {
		if k == "" || len(k) > 256 || len(v) > 1024 || len(c.Labels) > 64 {
			add("labels has %q, want at most 64 labels with names of 1 to 256 bytes and values of at most 1024", k)
			break
		}
	}
	if c.BatchEvents < 1 || c.BatchEvents > 1<<16 {
		add("batch_events is %d, want 1 to 65536", c.BatchEvents)
	}
	if c.BatchBytes < daemon.KiB || c.BatchBytes > 512*daemon.KiB {
		add("batch_bytes is %s, want 1KiB to 512KiB: NATS takes messages of 1MiB", c.BatchBytes)
	}
	if c.BatchDelay <= 0 || c.BatchDelay > time.Minute {
		add("batch_delay is %s, want above 0 and at most 1m", c.BatchDelay)
	}
	if c.Spool < daemon.MiB {
		add("spool is %s, want at least 1MiB", c.Spool)
	}
	errs = append(errs, c.validateSpool()...)
	if c.InFlight < 1 || c.InFlight > 4096 {
		add("in_flight is %d, want 1 to 4096", c.InFlight)
	}
	if c.MaxProcs < 1024 {
		add("max_processes is %d, want at least 1024", c.MaxProcs)
	}
	if err := daemon.At("hash", c.Hash.Validate()); err != nil {
		errs = append(errs, err)
	}
	if err := daemon.At("dns", c.DNS.Validate()); err != nil {
		errs = append(errs, err)
	}
	if c.StopTimeout <= 0 {
		add("stop_timeout is %s, want above 0", c.StopTimeout)
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
	}
	return nil
}

func (c Config) node() (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read host name: %w", err)
	}
	return name, nil
}
