// Package factv1 is what nodes say about themselves in the facts bucket, beside
// their events: the host, its accounts and its containers. Collectors write it, enrichers read it.
//
// A value is one JSON object with a "v" of 1. Fields are only ever added; readers
// ignore those that they do not know, and refuse another version with [ErrVersion].
//
//	key <node>.host   {"v":1,"node":"web1","boot_id":"...","kernel":"6.1.0-25-cloud-amd64",...}
//	key <node>.users  {"v":1,"users":[{"uid":0,"name":"root",...}],"groups":[{"gid":0,"name":"root"}]}
//	key <node>.container.<id>  {"v":1,"id":"3f1c...","name":"web","image":"nginx:1.27",...}
package factv1

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gyre-sec/gyre/schemas/subject"
)

// Version is the version of the values.
const Version = 1

// Limits on what a reader believes and a writer sends.
const (
	// MaxSize bounds an encoded value.
	MaxSize = 1 << 20
	// MaxAccounts bounds users and groups; a writer leaves out those after it and sets Truncated.
	MaxAccounts = 5000
)

// Errors of the decoders; both are permanent.
var (
	// ErrVersion is returned for a value of another version.
	ErrVersion = errors.New("fact is of another version")
	// ErrMalformed is returned for a value that is not what its key promises.
	ErrMalformed = errors.New("malformed fact")
)

// Host is a node's machine and operating system.
type Host struct {
	V      int    `json:"v"`
	Node   string `json:"node"`
	BootID string `json:"boot_id"`
	// BootTime is in nanoseconds since the Unix epoch.
	BootTime int64 `json:"boot_time"`
	// Hostname is the kernel's, which Node need not be.
	Hostname string `json:"hostname,omitempty"`
	// Kernel is the release, Machine the hardware name such as x86_64: uname(2).
	Kernel  string `json:"kernel,omitempty"`
	Machine string `json:"machine,omitempty"`
	CPUs    int    `json:"cpus,omitempty"`
	// Memory is in bytes.
	Memory uint64 `json:"memory,omitempty"`
	// MachineID is that of machine-id(5).
	MachineID string `json:"machine_id,omitempty"`
	// OS is from os-release(5): ID, VERSION_ID and PRETTY_NAME.
	OSID      string `json:"os_id,omitempty"`
	OSVersion string `json:"os_version,omitempty"`
	OSName    string `json:"os_name,omitempty"`
	// Collector is the version of the collector, Capture its attach mode: trampoline, tracepoint or recorded.
	Collector string `json:"collector,omitempty"`
	Capture   string `json:"capture,omitempty"`
	// Policy is the capture policy in force: the key of the config bucket that it comes from, or "configuration", a space, and the
	// first digits of its digest. PolicyError is why a newer one was refused.
	Policy      string `json:"policy,omitempty"`
	PolicyError string `json:"policy_error,omitempty"`
	// Labels are those that the collector's configuration gives the node.
	Labels map[string]string `json:"labels,omitempty"`
	// Cloud is what the metadata service says, nil if it was not asked or did not answer.
	Cloud *Cloud `json:"cloud,omitempty"`
}

// Cloud is where a virtual machine runs.
type Cloud struct {
	// Provider is aws, gcp or azure.
	Provider     string `json:"provider"`
	Region       string `json:"region,omitempty"`
	Zone         string `json:"zone,omitempty"`
	InstanceID   string `json:"instance_id,omitempty"`
	InstanceType string `json:"instance_type,omitempty"`
	Account      string `json:"account,omitempty"`
}

// Users are the accounts of a node: its passwd(5) and group(5).
type Users struct {
	V         int     `json:"v"`
	Users     []User  `json:"users"`
	Groups    []Group `json:"groups"`
	Truncated bool    `json:"truncated,omitempty"`
}

// User is a line of passwd(5), without what is of no use to detection.
type User struct {
	UID   uint32 `json:"uid"`
	GID   uint32 `json:"gid"`
	Name  string `json:"name"`
	Home  string `json:"home,omitempty"`
	Shell string `json:"shell,omitempty"`
}

// Group is a line of group(5).
type Group struct {
	GID  uint32 `json:"gid"`
	Name string `json:"name"`
}

// UsersKey is the key of a node's accounts; that of the host is [subject.FactHost].
func UsersKey(node string) string { return subject.Token(node) + ".users" }

// Encode returns the value for the key of [subject.FactHost].
func (h Host) Encode() ([]byte, error) {
	h.V = Version
	return encode("host", h)
}

// Encode returns the value for the key of [UsersKey].
func (u Users) Encode() ([]byte, error) {
	u.V = Version
	return encode("users", u)
}

func encode(what string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s fact: %w", what, err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("encode %s fact: %d bytes, at most %d are possible", what, len(b), MaxSize)
	}
	return b, nil
}

// DecodeHost reads what [Host.Encode] wrote.
func DecodeHost(data []byte) (Host, error) {
	var h Host
	if err := decode("host", data, &h); err != nil {
		return Host{}, err
	}
	return h, check("host", h.V)
}

// DecodeUsers reads what [Users.Encode] wrote.
func DecodeUsers(data []byte) (Users, error) {
	var u Users
	if err := decode("users", data, &u); err != nil {
		return Users{}, err
	}
	if len(u.Users) > MaxAccounts || len(u.Groups) > MaxAccounts {
		return Users{}, fmt.Errorf("%w: decode users: more than %d accounts", ErrMalformed, MaxAccounts)
	}
	return u, check("users", u.V)
}

func decode(what string, data []byte, v any) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%w: decode %s: %d bytes, at most %d are possible", ErrMalformed, what, len(data), MaxSize)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: decode %s: %w", ErrMalformed, what, err)
	}
	return nil
}

func check(what string, v int) error {
	if v != Version {
		return fmt.Errorf("%w: decode %s: %d, want %d", ErrVersion, what, v, Version)
	}
	return nil
}
