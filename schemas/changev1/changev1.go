// Package changev1 is a change in a cluster as it crosses the wire: one JSON object with
// a "v" of 1. Fields are only ever added; readers ignore those that they do not know.
package changev1

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Version is the version of the form.
const Version = 1

// maxSize bounds an encoded change.
const maxSize = 64 << 10

// Errors of [Decode]; both are permanent.
var (
	// ErrVersion is returned for a change of another version.
	ErrVersion = errors.New("change is of another version")
	// ErrMalformed is returned for what is no change.
	ErrMalformed = errors.New("malformed change")
)

// Change is something that changed in a cluster.
type Change struct {
	V int `json:"v"`
	// ID is made of the object and its version: two watchers of a cluster give a change the same.
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Cluster string    `json:"cluster,omitempty"`
	// Kind is rollout, image, scale, spec, created, deleted, config or rbac.
	Kind string `json:"kind"`
	// The object that changed.
	ObjectKind string `json:"object_kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"`
	// What is one line for people; Old and New are images or numbers where there are some.
	What string `json:"what"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	// Actor is who changed it last, as the server's managed fields name the program.
	Actor string `json:"actor,omitempty"`
	// Touches names what may behave otherwise by it: workloads as kind/namespace/name, service accounts as ServiceAccount/namespace/name.
	Touches []string `json:"touches,omitempty"`
}

// NewID makes the id of a change, a UUID.
func NewID(cluster, uid, version, kind string) string {
	return alertv1.KeyID("gyre.change."+kind, cluster+"/"+uid, version).String()
}

// Object is kind/namespace/name, or kind/name outside of namespaces.
func (c Change) Object() string {
	if c.Namespace == "" {
		return c.ObjectKind + "/" + c.Name
	}
	return c.ObjectKind + "/" + c.Namespace + "/" + c.Name
}

// Encode returns the JSON form.
func (c Change) Encode() ([]byte, error) {
	c.V = Version
	b, err := json.Marshal(c)
	if err == nil && len(b) > maxSize {
		c.Touches = c.Touches[:min(len(c.Touches), 100)]
		b, err = json.Marshal(c)
	}
	if err != nil {
		return nil, fmt.Errorf("encode change: %w", err)
	}
	return b, nil
}

// Decode reads what [Change.Encode] wrote.
func Decode(data []byte) (Change, error) {
	var c Change
	if len(data) > 4*maxSize {
		return c, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrMalformed, len(data), 4*maxSize)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if c.V != Version {
		return c, fmt.Errorf("%w: %d, want %d", ErrVersion, c.V, Version)
	}
	if len(c.ID) != 36 || c.Kind == "" || c.Time.IsZero() {
		return c, fmt.Errorf("%w: no id, kind or time", ErrMalformed)
	}
	return c, nil
}
