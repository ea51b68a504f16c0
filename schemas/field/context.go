package field

import (
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func uid(name, doc string, get func(*eventv1.Proc) uint32) Field {
	return num(name, FromUser, doc, func(v *View) (int64, bool) {
		if v.p == nil {
			return 0, false
		}
		if id := get(v.p); id != eventv1.NoUID {
			return int64(id), true
		}
		return -1, true
	})
}

func userStr(name, doc string, row func(*eventv1.Proc) int32, get func(*eventv1.User) eventv1.StrID) Field {
	return str(name, FromUser, doc, func(v *View) (string, bool) {
		if v.p == nil {
			return "", false
		}
		u := v.b.User(row(v.p))
		if u == nil {
			return "", false
		}
		return v.text(get(u))
	})
}

func userFields() []Field {
	acting := func(p *eventv1.Proc) int32 { return p.User }
	login := func(p *eventv1.Proc) int32 { return p.LoginUser }
	name := func(u *eventv1.User) eventv1.StrID { return u.Name }
	return []Field{
		uid("user.uid", "user id of the process", func(p *eventv1.Proc) uint32 { return p.UID }),
		uid("user.euid", "effective user id of the process", func(p *eventv1.Proc) uint32 { return p.EUID }),
		userStr("user.name", "name of the user", acting, name),
		userStr("user.homedir", "home directory of the user", acting, func(u *eventv1.User) eventv1.StrID { return u.Home }),
		userStr("user.shell", "login shell of the user", acting, func(u *eventv1.User) eventv1.StrID { return u.Shell }),
		list("user.label", FromUser, "labels of the user from lookups, name=value", func(v *View) ([]string, bool) {
			if v.p == nil {
				return nil, false
			}
			u := v.b.User(v.p.User)
			if u == nil || len(u.Labels) == 0 {
				return nil, false
			}
			return v.labels(u.Labels), true
		}),
		uid("user.loginuid", "user id of the login session, -1 for none", func(p *eventv1.Proc) uint32 { return p.LoginUID }),
		userStr("user.loginname", "name of the user of the login session", login, name),
		uid("group.gid", "group id of the process", func(p *eventv1.Proc) uint32 { return p.GID }),
		str("group.name", FromUser, "name of the group", func(v *View) (string, bool) {
			if v.p == nil {
				return "", false
			}
			return v.text(v.p.Group)
		}),
	}
}

func (v *View) container() *eventv1.Container {
	if v.p == nil {
		return nil
	}
	return v.b.Container(v.p.Container)
}

func ctrStr(name, doc string, get func(*eventv1.Container) eventv1.StrID) Field {
	return str(name, FromContainer, doc, func(v *View) (string, bool) {
		c := v.container()
		if c == nil {
			return "", false
		}
		return v.text(get(c))
	})
}

// ctrFact is, as in Falco, there and perhaps empty once the container's facts are; of is its value for processes of the host.
func ctrFact(name, doc, of string, get func(*eventv1.Container) eventv1.StrID) Field {
	return str(name, FromContainer, doc, func(v *View) (string, bool) {
		c, ok := v.known()
		if c == nil {
			return of, ok
		}
		s := v.b.Text(get(c))
		return s, ok || s != ""
	})
}

func containerFields() []Field {
	return []Field{
		str("container.id", FromContainer, "first 12 characters of the container's id; host for a process outside of containers", func(v *View) (string, bool) {
			if v.p == nil {
				return "", false
			}
			c := v.container()
			if c == nil {
				return host, true
			}
			id := v.b.Text(c.ID)
			return id[:min(12, len(id))], id != ""
		}),
		ctrFact("container.full_id", "the container's whole id; host for a process outside of containers", host, func(c *eventv1.Container) eventv1.StrID { return c.ID }),
		ctrFact("container.name", "name of the container; host for a process outside of containers", host, func(c *eventv1.Container) eventv1.StrID { return c.Name }),
		ctrFact("container.type", "runtime of the container, such as docker or containerd; host for a process outside of containers", host, func(c *eventv1.Container) eventv1.StrID { return c.Runtime }),
		ctrFact("container.image", "image of the container", "", func(c *eventv1.Container) eventv1.StrID { return c.Image }),
		ctrFact("container.image.repository", "repository of the image", "", func(c *eventv1.Container) eventv1.StrID { return c.ImageRepo }),
		ctrFact("container.image.tag", "tag of the image", "", func(c *eventv1.Container) eventv1.StrID { return c.ImageTag }),
		ctrFact("container.image.digest", "digest of the image", "", func(c *eventv1.Container) eventv1.StrID { return c.ImageDigest }),
		boolean("container.privileged", FromContainer, "the container is privileged", func(v *View) (bool, bool) {
			c, ok := v.known()
			if c == nil {
				return false, ok
			}
			return c.Privileged == eventv1.Yes, c.Privileged != eventv1.Unknown
		}),
		boolean("container.incomplete", FromContainer, "facts about the container did not arrive in time", func(v *View) (bool, bool) {
			c := v.container()
			return c != nil && c.Flags&eventv1.ContainerIncomplete != 0, c != nil
		}),
		ctrStr("k8s.ns.name", "Kubernetes namespace of the pod", func(c *eventv1.Container) eventv1.StrID { return c.PodNamespace }),
		ctrStr("k8s.pod.name", "name of the pod", func(c *eventv1.Container) eventv1.StrID { return c.PodName }),
		ctrStr("k8s.pod.uid", "uid of the pod", func(c *eventv1.Container) eventv1.StrID { return c.PodUID }),
	}
}

func label(name, doc, key string) Field {
	return str(name, FromNode, doc, func(v *View) (string, bool) { return v.b.Label(key) })
}

// Keys of node labels that the pipeline sets.
const (
	LabelKernel = "kernel"
	LabelOS     = "os"
	LabelArch   = "arch"
	// LabelCloud and LabelNode begin the keys of what the cloud says and of the labels that the node's configuration sets.
	LabelCloud = "cloud."
	LabelNode  = "label."
)

func nodeFields() []Field {
	return []Field{
		str("node.name", FromNode, "name of the node", func(v *View) (string, bool) { return v.b.Node, v.b.Node != "" }),
		str("evt.hostname", FromNode, "name of the node: Falco's word for node.name", func(v *View) (string, bool) { return v.b.Node, v.b.Node != "" }),
		str("node.boot_id", FromNode, "names the node's boot", func(v *View) (string, bool) { return v.b.BootID, v.b.BootID != "" }),
		label("node.kernel", "release of the kernel", LabelKernel),
		label("node.os", "distribution and its version", LabelOS),
		label("node.arch", "machine architecture", LabelArch),
		label("node.cloud.provider", "cloud in which the node runs: aws, gcp or azure", LabelCloud+"provider"),
		label("node.cloud.region", "region of the cloud", LabelCloud+"region"),
		label("node.cloud.zone", "zone of the cloud", LabelCloud+"zone"),
		label("node.cloud.account", "account, project or subscription in the cloud", LabelCloud+"account"),
		label("node.cloud.instance_id", "id of the virtual machine in the cloud", LabelCloud+"instance_id"),
		label("node.cloud.instance_type", "type of the virtual machine in the cloud", LabelCloud+"instance_type"),
		list("node.label", FromNode, "labels of the node, NAME=value: what its configuration sets and what the enricher's adds", func(v *View) ([]string, bool) {
			var out []string
			for _, l := range v.b.Labels {
				key := v.b.Text(l.Key)
				if strings.HasPrefix(key, LabelCloud) {
					continue
				}
				out = append(out, strings.TrimPrefix(key, LabelNode)+"="+v.b.Text(l.Value))
			}
			slices.Sort(out)
			return out, len(out) > 0
		}),
	}
}
