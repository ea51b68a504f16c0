package container

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

type pair struct{ key, value string }

// prepare makes of a fact what batches need.
func prepare(c factv1.Container) *facts {
	f := &facts{Container: c, labels: pairs(c.Labels), pods: pairs(c.PodLabels)}
	f.Labels, f.PodLabels = nil, nil
	for _, x := range [...]struct {
		on   bool
		flag eventv1.ContainerFlag
	}{
		{c.HostPID, eventv1.ContainerHostPID},
		{c.HostNetwork, eventv1.ContainerHostNetwork},
		{c.HostIPC, eventv1.ContainerHostIPC},
		{c.Sandbox, eventv1.ContainerSandbox},
	} {
		if x.on {
			f.flags |= x.flag
		}
	}
	f.users = make(map[uint32]*factv1.User, len(c.Users))
	for i := range c.Users {
		if u := &c.Users[i]; f.users[u.UID] == nil { // the first line of an id counts, as for getpwuid(3)
			f.users[u.UID] = u
		}
	}
	f.groups = make(map[uint32]string, len(c.Groups))
	for _, g := range c.Groups {
		if _, dup := f.groups[g.GID]; !dup {
			f.groups[g.GID] = g.Name
		}
	}
	return f
}

func pairs(m map[string]string) []pair {
	out := make([]pair, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{k, m[k]})
	}
	return out
}

// Enrich fills the rows of the containers whose facts are there and marks the others.
func (s *Stage) Enrich(_ context.Context, b *eventv1.Batch) error {
	if len(b.Containers) == 0 {
		return nil
	}
	node, now := subject.Token(b.Node), time.Time{}
	for i := range b.Containers {
		row := &b.Containers[i]
		f, _ := s.lookup(key{node, b.Text(row.ID)}, now)
		switch {
		case f == nil:
			row.Flags |= eventv1.ContainerIncomplete
			s.metrics.rows[resultMissing].Inc()
		case f.Unknown:
			row.Flags |= eventv1.ContainerIncomplete
			s.metrics.rows[resultUnknown].Inc()
		default:
			fill(b, row, f)
			s.metrics.rows[resultFound].Inc()
		}
		name(b, int32(i), f)
	}
	return nil
}

// fill sets the columns of a row; what the node knew already stays.
func fill(b *eventv1.Batch, row *eventv1.Container, f *facts) {
	set := func(id *eventv1.StrID, s string) {
		if *id == 0 && s != "" {
			*id = b.AddString(s)
		}
	}
	if f.Runtime != "" && b.Text(row.Runtime) != f.Runtime { // the runtime knows better than the name of a control group
		row.Runtime = b.AddString(f.Runtime)
	}
	set(&row.Name, f.Name)
	set(&row.Image, f.Image)
	set(&row.ImageRepo, f.ImageRepo)
	set(&row.ImageTag, f.ImageTag)
	set(&row.ImageDigest, f.ImageDigest)
	set(&row.ImageID, f.ImageID)
	set(&row.IP, f.IP)
	set(&row.CNI, f.CNI)
	set(&row.SandboxID, f.SandboxID)
	set(&row.PodName, f.PodName)
	set(&row.PodNamespace, f.PodNamespace)
	set(&row.PodUID, f.PodUID)
	set(&row.ServiceAccount, f.ServiceAccount)
	row.Privileged = eventv1.Unknown
	if f.Privileged != nil {
		row.Privileged = eventv1.No
		if *f.Privileged {
			row.Privileged = eventv1.Yes
		}
	}
	if row.Start == 0 {
		row.Start = f.Started
	}
	row.Flags &^= eventv1.ContainerIncomplete
	row.Flags |= eventv1.ContainerKnown
	row.Flags |= f.flags
	row.Labels = appendPairs(b, row.Labels[:0], f.labels)
	row.PodLabels = appendPairs(b, row.PodLabels[:0], f.pods)
	row.Mounts = row.Mounts[:0]
	for i := range f.Mounts {
		m := &f.Mounts[i]
		row.Mounts = append(row.Mounts, eventv1.ContainerMount{
			Source: b.AddString(m.Source), Dest: b.AddString(m.Dest), Mode: b.AddString(m.Mode), Propagation: b.AddString(m.Propagation), Writable: m.Writable,
		})
	}
	row.Env = row.Env[:0]
	for _, e := range f.Env {
		row.Env = append(row.Env, b.AddString(e))
	}
}

func appendPairs(b *eventv1.Batch, to []eventv1.Label, from []pair) []eventv1.Label {
	for _, p := range from {
		to = append(to, eventv1.Label{Key: b.AddString(p.key), Value: b.AddString(p.value)})
	}
	return to
}

// root is the account that every image has, whether it lists accounts or not.
var root = factv1.User{Name: "root", Home: "/root"}

// name gives the processes of a container its own users and groups. Login sessions are the host's.
func name(b *eventv1.Batch, row int32, f *facts) {
	first := int32(len(b.Users))
	var group eventv1.StrID
	groupOf := uint32(eventv1.NoUID)
	for i := range b.Procs {
		p := &b.Procs[i]
		if p.Container != row {
			continue
		}
		if p.User < 0 {
			p.User = userRow(b, first, row, p.UID, f)
		}
		if p.Group != 0 {
			continue
		}
		if p.GID != groupOf {
			groupOf, group = p.GID, b.AddString(groupName(p.GID, f))
		}
		p.Group = group
	}
}

func groupName(gid uint32, f *facts) string {
	if f != nil {
		if n := f.groups[gid]; n != "" {
			return n
		}
	}
	if gid == 0 {
		return root.Name
	}
	return ""
}

// userRow finds or adds the row of a user of the container, among those from first on; -1 if the user has no name.
func userRow(b *eventv1.Batch, first, container int32, uid uint32, f *facts) int32 {
	for r := first; r < int32(len(b.Users)); r++ {
		if b.Users[r].UID == uid {
			return r
		}
	}
	var u *factv1.User
	if f != nil {
		u = f.users[uid]
	}
	if u == nil {
		if uid != 0 {
			return -1
		}
		u = &root
	}
	b.Users = append(b.Users, eventv1.User{UID: uid, Container: container, Name: b.AddString(u.Name), Home: b.AddString(u.Home), Shell: b.AddString(u.Shell)})
	return int32(len(b.Users) - 1)
}
