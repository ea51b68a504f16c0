package container

import (
	"errors"
	"fmt"
	"time"
)

// Config says where to look; an entry that is not there is passed over, and noticed when it appears.
type Config struct {
	Enabled bool `yaml:"enabled" json:"enabled" doc:"find out names, images, labels and mounts of the containers on this node"`
	Helper  bool `yaml:"helper" json:"helper" doc:"gyre-collector does it in a process of its own, without the privileges of capture"`
	// Docker also serves podman, whose service speaks the same language.
	Docker        []string      `yaml:"docker" json:"docker" doc:"sockets of Docker"`
	Podman        []string      `yaml:"podman" json:"podman" doc:"sockets of podman's service; * stands for any name"`
	CRI           []string      `yaml:"cri" json:"cri" doc:"sockets of containerd, CRI-O and others that serve the container runtime interface"`
	Bundles       []string      `yaml:"bundles" json:"bundles" doc:"directories with a directory per container that holds its config.json, or userdata/config.json, or runc's state.json; * stands for any name"`
	DockerFiles   []string      `yaml:"docker_files" json:"docker_files" doc:"directories in which Docker keeps its containers"`
	PodmanStorage []string      `yaml:"podman_storage" json:"podman_storage" doc:"directories in which podman and CRI-O list their containers (containers.json)"`
	Settle        time.Duration `yaml:"settle" json:"settle" doc:"how long to look for a container that nothing knows, before saying so"`
	Keep          time.Duration `yaml:"keep" json:"keep" doc:"how long facts of a container stay after its end"`
	Max           int           `yaml:"max" json:"max" doc:"containers known at once; facts of the oldest ended ones go first"`
}

// DefaultConfig looks where runtimes are by default.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Helper: true,
		Docker: []string{"/run/docker.sock"},
		Podman: []string{"/run/podman/podman.sock", "/run/user/*/podman/podman.sock"},
		CRI:    []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock"},
		Bundles: []string{
			"/run/containerd/io.containerd.runtime.v2.task/*", "/run/k3s/containerd/io.containerd.runtime.v2.task/*", "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/*",
			"/var/lib/containers/storage/overlay-containers", "/var/lib/containers/storage/vfs-containers",
			"/run/containers/storage/overlay-containers", "/run/runc", "/run/crun",
		},
		DockerFiles:   []string{"/var/lib/docker/containers"},
		PodmanStorage: []string{"/var/lib/containers/storage/overlay-containers", "/var/lib/containers/storage/vfs-containers"},
		Settle:        time.Second, Keep: 10 * time.Minute, Max: 10_000,
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Settle <= 0 || c.Settle > time.Minute {
		errs = append(errs, fmt.Errorf("settle is %s, want above 0 and at most 1m", c.Settle))
	}
	if c.Keep < 0 {
		errs = append(errs, fmt.Errorf("keep is %s, want 0 or more", c.Keep))
	}
	if c.Max < 1 || c.Max > 1_000_000 {
		errs = append(errs, fmt.Errorf("max is %d, want 1 to 1000000", c.Max))
	}
	for key, list := range map[string][]string{
		"docker": c.Docker, "podman": c.Podman, "cri": c.CRI, "bundles": c.Bundles, "docker_files": c.DockerFiles, "podman_storage": c.PodmanStorage,
	} {
		for _, p := range list {
			if len(p) == 0 || p[0] != '/' {
				errs = append(errs, fmt.Errorf("%s has %q, want an absolute path", key, p))
			}
		}
	}
	return errors.Join(errs...)
}
