package factv1

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/schemas/subject"
)

// Limits of a container's fact; a writer leaves out what is over them and sets Truncated.
const (
	MaxLabels            = 256
	MaxMounts            = 512
	MaxEnvNames          = 512
	MaxContainerAccounts = 256
	// MaxText bounds each text, in bytes.
	MaxText = 4096
	// MaxContainer bounds the encoded value: over it the longest parts are left out.
	MaxContainer = 256 << 10
)

// Container is what a node knows of one container, under the key of [subject.FactContainer].
// Runtimes and the bundle on disk tell it; what none of them says stays empty.
type Container struct {
	V int `json:"v"`
	// ID is the full id as the control group has it.
	ID string `json:"id"`
	// Unknown: the node looked everywhere and found nothing; no reader needs to wait for more.
	Unknown bool `json:"unknown,omitempty"`
	// Runtime is docker, containerd, cri-o, podman or runc; Sources are the places that told something.
	Runtime string   `json:"runtime,omitempty"`
	Sources []string `json:"sources,omitempty"`
	Name    string   `json:"name,omitempty"`
	// Image is the name that the container was made from; ImageID the id of its configuration, without algorithm.
	Image       string `json:"image,omitempty"`
	ImageRepo   string `json:"image_repo,omitempty"`
	ImageTag    string `json:"image_tag,omitempty"`
	ImageDigest string `json:"image_digest,omitempty"`
	ImageID     string `json:"image_id,omitempty"`
	// Privileged is nil if it is not known.
	Privileged  *bool `json:"privileged,omitempty"`
	HostPID     bool  `json:"host_pid,omitempty"`
	HostNetwork bool  `json:"host_network,omitempty"`
	HostIPC     bool  `json:"host_ipc,omitempty"`
	// Started is in nanoseconds since the Unix epoch, 0 if not known.
	Started int64             `json:"started,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Mounts  []Mount           `json:"mounts,omitempty"`
	// Env are the names of the environment's variables, never their values.
	Env []string `json:"env,omitempty"`
	IP  string   `json:"ip,omitempty"`
	// CNI is the result of the pod's network plugin, as JSON.
	CNI string `json:"cni,omitempty"`

	// Sandbox: this is the container that holds a pod's namespaces. SandboxID is that container's id.
	Sandbox        bool              `json:"sandbox,omitempty"`
	SandboxID      string            `json:"sandbox_id,omitempty"`
	PodName        string            `json:"pod_name,omitempty"`
	PodNamespace   string            `json:"pod_namespace,omitempty"`
	PodUID         string            `json:"pod_uid,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	PodLabels      map[string]string `json:"pod_labels,omitempty"`

	// Users and Groups are the container's own accounts.
	Users     []User  `json:"users,omitempty"`
	Groups    []Group `json:"groups,omitempty"`
	Truncated bool    `json:"truncated,omitempty"`
}

// Mount is a file system or directory that the container sees at Dest.
type Mount struct {
	Source      string `json:"source,omitempty"`
	Dest        string `json:"dest"`
	Mode        string `json:"mode,omitempty"`
	Writable    bool   `json:"rw,omitempty"`
	Propagation string `json:"propagation,omitempty"`
}

// ContainerIDs is which containers a node has told facts of, under the key of [ContainersKey]: its next collector takes
// those away that are gone.
type ContainerIDs struct {
	V   int      `json:"v"`
	IDs []string `json:"ids"`
}

// ContainersKey is the key of a node's [ContainerIDs].
func ContainersKey(node string) string { return subject.Token(node) + ".containers" }

// Encode returns the value for the key of [ContainersKey].
func (c ContainerIDs) Encode() ([]byte, error) {
	c.V = Version
	return encode("container ids", c)
}

// DecodeContainerIDs reads what [ContainerIDs.Encode] wrote.
func DecodeContainerIDs(data []byte) (ContainerIDs, error) {
	var c ContainerIDs
	if err := decode("container ids", data, &c); err != nil {
		return ContainerIDs{}, err
	}
	return c, check("container ids", c.V)
}

// Encode returns the value for the key of [subject.FactContainer], within the limits.
func (c Container) Encode() ([]byte, error) {
	c.V = Version
	c.bound()
	for _, shorten := range []func(){
		func() {}, func() { c.Env, c.CNI = nil, "" }, func() { c.Labels, c.PodLabels = nil, nil },
		func() { c.Users, c.Groups = nil, nil }, func() { c.Mounts = nil },
	} {
		shorten()
		data, err := encode("container", c)
		if err == nil && len(data) <= MaxContainer {
			return data, nil
		}
		c.Truncated = true
	}
	return encode("container", c)
}

// DecodeContainer reads what [Container.Encode] wrote.
func DecodeContainer(data []byte) (Container, error) {
	var c Container
	if err := decode("container", data, &c); err != nil {
		return Container{}, err
	}
	if err := check("container", c.V); err != nil {
		return Container{}, err
	}
	if c.ID == "" {
		return Container{}, fmt.Errorf("%w: decode container: it has no id", ErrMalformed)
	}
	c.bound()
	return c, nil
}

// bound cuts what is over the limits; it does not change what slices and maps share with others.
func (c *Container) bound() {
	for _, s := range []*string{
		&c.ID, &c.Runtime, &c.Name, &c.Image, &c.ImageRepo, &c.ImageTag, &c.ImageDigest, &c.ImageID, &c.IP, &c.CNI,
		&c.SandboxID, &c.PodName, &c.PodNamespace, &c.PodUID, &c.ServiceAccount,
	} {
		*s = c.text(*s)
	}
	c.Labels, c.PodLabels = c.labels(c.Labels), c.labels(c.PodLabels)
	c.Mounts = limit(c, c.Mounts, MaxMounts)
	c.Env = limit(c, c.Env, MaxEnvNames)
	c.Users = limit(c, c.Users, MaxContainerAccounts)
	c.Groups = limit(c, c.Groups, MaxContainerAccounts)
	c.Sources = limit(c, c.Sources, 16)
	c.Env = slices.Clone(c.Env)
	for i, e := range c.Env {
		c.Env[i] = c.text(e)
	}
	c.Mounts = slices.Clone(c.Mounts)
	for i := range c.Mounts {
		m := &c.Mounts[i]
		m.Source, m.Dest, m.Mode, m.Propagation = c.text(m.Source), c.text(m.Dest), c.text(m.Mode), c.text(m.Propagation)
	}
}

func limit[T any](c *Container, s []T, n int) []T {
	if len(s) > n {
		c.Truncated = true
		return s[:n]
	}
	return s
}

func (c *Container) text(s string) string {
	if len(s) > MaxText {
		c.Truncated = true
		return strings.ToValidUTF8(s[:MaxText], "")
	}
	return s
}

// labels keeps the first ones in the order of their names.
func (c *Container) labels(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, min(len(m), MaxLabels))
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i == MaxLabels {
			c.Truncated = true
			break
		}
		out[c.text(k)] = c.text(m[k])
	}
	return out
}
