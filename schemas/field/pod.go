package field

import (
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func (v *View) pod() *eventv1.Pod { return v.b.PodOf(v.container()) }

func podStr(name, doc string, get func(*eventv1.Pod) eventv1.StrID) Field {
	return str(name, FromContainer, doc, func(v *View) (string, bool) {
		p := v.pod()
		if p == nil {
			return "", false
		}
		return v.text(get(p))
	})
}

func podLabels(name, what string, get func(*eventv1.Pod) []eventv1.Label) []Field {
	of := func(v *View) []eventv1.Label {
		if p := v.pod(); p != nil {
			return get(p)
		}
		return nil
	}
	return []Field{
		list(name, FromContainer, "labels of the "+what+", name=value; "+name+".valueOf(\"app\") is one", func(v *View) ([]string, bool) {
			l := of(v)
			if len(l) == 0 {
				return nil, false
			}
			return v.labels(l), true
		}),
		str(name+"s", FromContainer, "labels of the "+what+" as one text, name:value, separated by a comma and a blank", func(v *View) (string, bool) {
			l := of(v)
			if len(l) == 0 {
				return "", false
			}
			var s strings.Builder
			for i, x := range l {
				if i > 0 {
					s.WriteString(", ")
				}
				s.WriteString(v.b.Text(x.Key))
				s.WriteByte(':')
				s.WriteString(v.b.Text(x.Value))
			}
			return s.String(), true
		}),
	}
}

// owner is a controller of the pod of this kind, the nearest one; no kind means the outermost of all.
func owner(name, doc string, get func(eventv1.Owner) eventv1.StrID, kind string) Field {
	return str(name, FromContainer, doc, func(v *View) (string, bool) {
		p := v.pod()
		if p == nil || len(p.Owners) == 0 {
			return "", false
		}
		if kind == "" {
			return v.text(get(p.Owners[len(p.Owners)-1]))
		}
		for _, o := range p.Owners {
			if v.b.Text(o.Kind) == kind {
				return v.text(get(o))
			}
		}
		return "", false
	})
}

func changeText(b *eventv1.Batch, c *eventv1.Change) string {
	return time.Unix(0, c.Time).UTC().Format(time.RFC3339) + " " + b.Text(c.Kind) + " " + b.Text(c.Object) + " " + b.Text(c.What)
}

// podFields are what the cluster tells about the pod of a process.
func podFields() []Field {
	name := func(o eventv1.Owner) eventv1.StrID { return o.Name }
	kind := func(o eventv1.Owner) eventv1.StrID { return o.Kind }
	uid := func(o eventv1.Owner) eventv1.StrID { return o.UID }
	fields := []Field{
		podStr("k8s.node.name", "node of the pod as the cluster names it", func(p *eventv1.Pod) eventv1.StrID { return p.Node }),
		podStr("k8s.ns.uid", "uid of the pod's namespace", func(p *eventv1.Pod) eventv1.StrID { return p.NamespaceUID }),
		owner("k8s.workload.name", "name of the workload that the pod belongs to: of the outermost of its controllers", name, ""),
		owner("k8s.workload.kind", "kind of the workload: Deployment, StatefulSet, DaemonSet, Job, CronJob or another", kind, ""),
		owner("k8s.deployment.name", "name of the deployment of the pod", name, "Deployment"),
		owner("k8s.deployment.uid", "uid of the deployment of the pod", uid, "Deployment"),
		owner("k8s.rs.name", "name of the replica set of the pod", name, "ReplicaSet"),
		owner("k8s.rs.uid", "uid of the replica set of the pod", uid, "ReplicaSet"),
		owner("k8s.rc.name", "name of the replication controller of the pod", name, "ReplicationController"),
		owner("k8s.rc.uid", "uid of the replication controller of the pod", uid, "ReplicationController"),
		list("k8s.svc.name", FromContainer, "names of the services that select the pod", func(v *View) ([]string, bool) {
			p := v.pod()
			if p == nil || len(p.Services) == 0 {
				return nil, false
			}
			out := make([]string, len(p.Services))
			for i, s := range p.Services {
				out[i] = v.b.Text(s)
			}
			return out, true
		}),
		list("k8s.changes", FromContainer, "what changed of late in what the pod runs by, the newest first: time, kind, object and what, separated by blanks", func(v *View) ([]string, bool) {
			p := v.pod()
			if p == nil || len(p.Changes) == 0 {
				return nil, false
			}
			out := make([]string, len(p.Changes))
			for i := range p.Changes {
				out[i] = changeText(v.b, &p.Changes[i])
			}
			return out, true
		}),
		list("k8s.changes.kind", FromContainer, "the kinds of these changes: rollout, image, scale, created, deleted, config, rbac", func(v *View) ([]string, bool) {
			p := v.pod()
			if p == nil || len(p.Changes) == 0 {
				return nil, false
			}
			out := make([]string, len(p.Changes))
			for i, c := range p.Changes {
				out[i] = v.b.Text(c.Kind)
			}
			return out, true
		}),
	}
	return append(fields, podLabels("k8s.ns.label", "pod's namespace", func(p *eventv1.Pod) []eventv1.Label { return p.NamespaceLabels })...)
}
