package kube

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// Config says which cluster is watched.
type Config struct {
	Enabled    bool          `yaml:"enabled" doc:"watch a Kubernetes cluster for what its pods, services and workloads are, and what changes"`
	Kubeconfig string        `yaml:"kubeconfig" doc:"file that says where the cluster is; empty: the one that this program runs in"`
	Context    string        `yaml:"context" doc:"context in that file; empty: its current one"`
	Cluster    string        `yaml:"cluster" doc:"name of the cluster, in the table of changes and as the node label cluster"`
	Namespaces []string      `yaml:"namespaces" doc:"namespaces whose objects are watched; empty: all"`
	Secrets    bool          `yaml:"secrets" doc:"watch that secrets change; needs the permission to list them, though only their metadata is read"`
	Window     time.Duration `yaml:"changes_window" doc:"how far back changes are attached to what happens in the workload they touch; 0: not at all"`
	MaxChanges int           `yaml:"max_changes" doc:"changes of one workload that are attached at most, the latest"`
	Linger     time.Duration `yaml:"linger" doc:"how long a deleted pod is remembered for events that come late"`
}

// DefaultConfig watches nothing.
func DefaultConfig() Config {
	return Config{Window: 30 * time.Minute, MaxChanges: 5, Linger: 2 * time.Minute}
}

// Validate checks what can be checked without the cluster.
func (c Config) Validate() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, daemon.At(key, fmt.Errorf(format, args...)))
	}
	if c.Window < 0 || c.Window > 24*time.Hour {
		add("changes_window", "changes_window is %s, want 0 to 24h", c.Window)
	}
	if c.MaxChanges < 0 || c.MaxChanges > 100 {
		add("max_changes", "max_changes is %d, want 0 to 100", c.MaxChanges)
	}
	if c.Linger < 0 || c.Linger > time.Hour {
		add("linger", "linger is %s, want 0 to 1h", c.Linger)
	}
	if len(c.Namespaces) > 100 {
		add("namespaces", "%d namespaces, at most 100 can be named: leave the list empty to watch all", len(c.Namespaces))
	}
	if c.Enabled && c.Kubeconfig != "" {
		if _, err := os.Stat(c.Kubeconfig); err != nil {
			add("kubeconfig", "%w", err)
		}
	}
	return errors.Join(errs...)
}
