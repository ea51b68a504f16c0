package eventv1

// rows copies the rows that were noted. All users of the host and of those containers stay, since arguments of events name
// users by their number; the columns of rows that hold lists share them with b.
func (s *Selector) rows(b *Batch) {
	o := &s.out
	for i := range b.Containers {
		if s.containers[i] < 0 {
			continue
		}
		s.containers[i] = int32(len(o.Containers))
		c := &b.Containers[i]
		o.Containers = append(o.Containers, *c)
		s.container(c)
		if p := b.PodOf(c); p != nil {
			s.pod(p)
		}
	}
	for i := range b.Users {
		u := b.Users[i]
		if u.Container >= 0 && moved(s.containers, u.Container) < 0 {
			continue
		}
		s.users[i] = int32(len(o.Users))
		u.Container = moved(s.containers, u.Container)
		o.Users = append(o.Users, u)
		s.need(u.Name, u.Home, u.Shell)
		s.labels(u.Labels)
	}
	n := int32(0)
	for i := range b.Procs {
		if s.procs[i] >= 0 {
			s.procs[i] = n
			n++
		}
	}
	for i := range b.Procs {
		if s.procs[i] >= 0 {
			s.proc(b.Procs[i])
		}
	}
	for _, a := range b.Addresses {
		if int(a.Addr) < len(s.strings) && s.strings[a.Addr] {
			o.Addresses = append(o.Addresses, a)
			s.need(a.Name, a.Country, a.ASOrg, a.Service, a.Pod, a.Workload)
			s.labels(a.Labels)
		}
	}
	s.labels(b.Labels)
	last := 0
	for i, need := range s.strings {
		if need {
			last = i
		}
	}
	for i := range b.Strings[:min(last+1, len(b.Strings))] {
		text := ""
		if s.strings[i] {
			text = b.Strings[i]
		}
		o.Strings = append(o.Strings, text)
	}
}

func (s *Selector) proc(p Proc) {
	s.need(p.Exe, p.Comm, p.Cwd, p.TTY, p.Cgroup, p.Group, p.ExeHash)
	s.need(p.Args...)
	s.need(p.Env...)
	s.labels(p.Labels)
	p.Parent, p.Container = moved(s.procs, p.Parent), moved(s.containers, p.Container)
	p.User, p.LoginUser = moved(s.users, p.User), moved(s.users, p.LoginUser)
	s.out.Procs = append(s.out.Procs, p)
}

func (s *Selector) container(c *Container) {
	s.need(c.ID, c.Runtime, c.Name, c.Image, c.ImageRepo, c.ImageTag, c.ImageDigest, c.PodName, c.PodNamespace, c.PodUID)
	s.need(c.Workload, c.WorkloadKind, c.Service, c.ImageID, c.IP, c.CNI, c.SandboxID, c.ServiceAccount)
	s.need(c.Env...)
	s.labels(c.Labels)
	s.labels(c.PodLabels)
	for _, m := range c.Mounts {
		s.need(m.Source, m.Dest, m.Mode, m.Propagation)
	}
}

// pod copies a pod, once.
func (s *Selector) pod(p *Pod) {
	for i := range s.out.Pods {
		if s.out.Pods[i].UID == p.UID {
			return
		}
	}
	s.out.Pods = append(s.out.Pods, *p)
	s.need(p.UID, p.Namespace, p.Name, p.Node, p.IP, p.ServiceAccount, p.NamespaceUID)
	s.need(p.Services...)
	s.labels(p.Labels)
	s.labels(p.NamespaceLabels)
	for _, w := range p.Owners {
		s.need(w.Kind, w.Name, w.UID)
	}
	for _, c := range p.Changes {
		s.need(c.Kind, c.Object, c.What)
	}
}

func (s *Selector) labels(l []Label) {
	for _, x := range l {
		s.need(x.Key, x.Value)
	}
}

// need notes strings that stay.
func (s *Selector) need(ids ...StrID) {
	for _, id := range ids {
		if int(id) < len(s.strings) {
			s.strings[id] = true
		}
	}
}
