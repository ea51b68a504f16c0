package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/changev1"
)

// Kinds of changes.
const (
	kindCreated = "created"
	kindDeleted = "deleted"
	kindImage   = "image"
	kindRollout = "rollout"
	kindScale   = "scale"
	kindSpec    = "spec"
	kindConfig  = "config"
	kindRBAC    = "rbac"
)

// tracked tells whether changes of the object are told. What another object makes is told by that one.
func tracked(r *record) bool {
	switch r.kind {
	case "ConfigMap":
		return r.Name != "kube-root-ca.crt" && !strings.HasSuffix(r.Name, "-lock")
	case "Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding":
		return true
	}
	o := r.owner()
	return r.work != nil && (o == nil || o.Kind != "CronJob")
}

// diff returns the change from old to r; either may be nil. ok is false if nothing of interest changed.
func (m *model) diff(cluster string, old, r *record, now time.Time) (c changev1.Change, ok bool) {
	x := r
	if x == nil {
		x = old
	}
	if !tracked(x) {
		return c, false
	}
	c = changev1.Change{Time: now.UTC(), Cluster: cluster, ObjectKind: x.kind, Namespace: x.Namespace, Name: x.Name, UID: string(x.UID), Actor: x.actor, Touches: m.touches(old, r)}
	version := x.ResourceVersion
	switch {
	case old == nil:
		// A watch that begins tells of what is there: the time and the id are those of the creation.
		c.Kind, c.What, c.Time, version = kindCreated, x.kind+" was created", x.CreationTimestamp.UTC(), "created"
	case r == nil:
		c.Kind, c.What, version = kindDeleted, x.kind+" was deleted", "deleted"
	case r.work != nil:
		c.Kind, c.What, c.Old, c.New = workChange(old.work, r.work, old.Generation != r.Generation)
	case old.ResourceVersion == r.ResourceVersion:
		return c, false
	case r.kind == "ConfigMap" || r.kind == "Secret":
		c.Kind, c.What = kindConfig, r.kind+" was changed"
	default:
		c.Kind, c.What = kindRBAC, r.kind+" was changed"
		if r.bind != nil && !slices.Equal(old.bind.accounts, r.bind.accounts) {
			c.Old, c.New = strings.Join(old.bind.accounts, " "), strings.Join(r.bind.accounts, " ")
		}
	}
	if c.Kind == "" {
		return c, false
	}
	if (old == nil || r == nil) && x.work == nil { // what is created or deleted is told by its nature
		c.Kind = kindConfig
		if x.kind != "ConfigMap" && x.kind != "Secret" {
			c.Kind = kindRBAC
		}
	}
	if x.bind != nil {
		c.What += ", it binds " + x.bind.role
	}
	c.ID = changev1.NewID(cluster, c.UID, version, c.Kind)
	return c, true
}

func workChange(old, now *workFacts, generation bool) (kind, what, from, to string) {
	if !maps.Equal(old.images, now.images) {
		var was, is []string
		for _, name := range slices.Sorted(maps.Keys(now.images)) {
			if old.images[name] != now.images[name] {
				was, is = append(was, old.images[name]), append(is, now.images[name])
			}
		}
		from, to = strings.Join(was, " "), strings.Join(is, " ")
		if len(is) == 0 {
			return kindImage, "containers were taken out", from, to
		}
		return kindImage, fmt.Sprintf("image %s became %s", orNone(from), to), from, to
	}
	switch {
	case old.template != now.template:
		return kindRollout, "the pod template was changed", "", ""
	case old.replicas != now.replicas:
		from, to = fmt.Sprint(old.replicas), fmt.Sprint(now.replicas)
		return kindScale, "replicas went from " + from + " to " + to, from, to
	case generation:
		return kindSpec, "the specification was changed", "", ""
	}
	return "", "", "", ""
}

func orNone(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(none)"
	}
	return s
}

// touches lists what may behave otherwise by a change.
func (m *model) touches(old, r *record) []string {
	x := r
	if x == nil {
		x = old
	}
	switch {
	case x.kind == "ConfigMap" || x.kind == "Secret":
		return m.users(x.Namespace, x.kind+"/"+x.Name)
	case x.bind != nil:
		set := map[string]bool{}
		for _, b := range []*record{old, r} {
			if b != nil {
				for _, a := range b.bind.accounts {
					set[a] = true
				}
			}
		}
		return slices.Sorted(maps.Keys(set))
	case x.kind == "Role" || x.kind == "ClusterRole":
		return m.bound(x.key())
	}
	return nil
}
