package eventv1

import (
	"slices"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// NetAddr is a row of the address table: an IP address that events of the batch
// mention. The collector enters it, with the name that the node saw it resolved
// from; enrichment fills in the rest. Rows are sorted by Addr. On the wire a row is as
// short as what is known of it:
//
//	Address = [addr, name, country, asn, as_org, service, pod, workload, labels[[key, value]...]]
type NetAddr struct {
	// Addr has 4 or 16 bytes; events name it by the same index.
	Addr StrID
	// Name is the domain name of the last answer with this address that the node saw.
	Name StrID
	// Country is an ISO 3166 code of two letters.
	Country StrID
	// ASN is the autonomous system's number, 0 if unknown; ASOrg who runs it.
	ASN   uint32
	ASOrg StrID
	// Service and Pod are namespace/name of the Kubernetes service or pod that has the address, Workload kind/namespace/name of
	// who owns that pod.
	Service, Pod, Workload StrID
	Labels                 []Label
}

// Pod is a row of the pod table: a Kubernetes pod of containers in the batch, by its uid.
//
//	Pod = [uid, namespace, name, node, ip, service_account, ns_uid, owners[[kind, name, uid]...], labels, ns_labels,
//	       services[], changes[[time, kind, object, what]...]]
type Pod struct {
	UID, Namespace, Name, Node, IP, ServiceAccount, NamespaceUID StrID
	// Owners is the chain of controllers, the nearest first: ReplicaSet, Deployment.
	Owners                  []Owner
	Labels, NamespaceLabels []Label
	// Services are the names of the services that select the pod.
	Services []StrID
	// Changes are what changed of late in what the pod runs by, the newest first.
	Changes []Change
}

// Owner is a controller of a pod.
type Owner struct{ Kind, Name, UID StrID }

// Change is something that changed in the cluster.
type Change struct {
	// Time is in nanoseconds since the Unix epoch.
	Time int64
	// Kind is such as rollout or image, Object kind/namespace/name, What one line for people.
	Kind, Object, What StrID
}

// Address returns the row of an address, nil if there is none.
func (b *Batch) Address(id StrID) *NetAddr {
	i, ok := slices.BinarySearchFunc(b.Addresses, id, func(a NetAddr, id StrID) int { return int(a.Addr) - int(id) })
	if !ok {
		return nil
	}
	return &b.Addresses[i]
}

// PodOf returns the pod of a container, nil if it is not known.
func (b *Batch) PodOf(c *Container) *Pod {
	if c == nil || c.PodUID == 0 {
		return nil
	}
	uid := b.Text(c.PodUID)
	for i := range b.Pods {
		if b.Pods[i].UID == c.PodUID || b.Text(b.Pods[i].UID) == uid {
			return &b.Pods[i]
		}
	}
	return nil
}

func sortAddresses(a []NetAddr) {
	byID := func(x, y NetAddr) int { return int(x.Addr) - int(y.Addr) }
	if !slices.IsSortedFunc(a, byID) {
		slices.SortFunc(a, byID)
	}
}

func (a *NetAddr) encode(e *wire.Encoder) {
	n := 9
	switch {
	case len(a.Labels) > 0:
	case a.Workload != 0 || a.Pod != 0 || a.Service != 0:
		n = 8
	case a.ASOrg != 0 || a.ASN != 0 || a.Country != 0:
		n = 5
	case a.Name != 0:
		n = 2
	default:
		n = 1
	}
	e.Array(n)
	ids(e, a.Addr)
	if n >= 2 {
		ids(e, a.Name)
	}
	if n >= 5 {
		ids(e, a.Country)
		e.Uint(uint64(a.ASN))
		ids(e, a.ASOrg)
	}
	if n >= 8 {
		ids(e, a.Service, a.Pod, a.Workload)
	}
	if n >= 9 {
		encodeLabels(e, a.Labels)
	}
}

func (x *Decoder) address(a *NetAddr) {
	d := x.d
	n := x.row("address", 1)
	old := a.Labels
	*a = NetAddr{Addr: x.str()}
	if n >= 2 {
		a.Name = x.str()
	}
	if n >= 3 {
		a.Country = x.str()
	}
	if n >= 4 {
		a.ASN = d.Uint32()
	}
	if n >= 5 {
		a.ASOrg = x.str()
	}
	if n >= 6 {
		a.Service = x.str()
	}
	if n >= 7 {
		a.Pod = x.str()
	}
	if n >= 8 {
		a.Workload = x.str()
	}
	if n >= 9 {
		a.Labels = x.labels(old[:0])
	}
	d.Skip(n - 9)
}

const podLen = 12

func (p *Pod) encode(e *wire.Encoder) {
	e.Array(podLen)
	ids(e, p.UID, p.Namespace, p.Name, p.Node, p.IP, p.ServiceAccount, p.NamespaceUID)
	e.Array(len(p.Owners))
	for _, o := range p.Owners {
		e.Array(3)
		ids(e, o.Kind, o.Name, o.UID)
	}
	encodeLabels(e, p.Labels)
	encodeLabels(e, p.NamespaceLabels)
	encodeList(e, p.Services)
	e.Array(len(p.Changes))
	for _, c := range p.Changes {
		e.Array(4)
		e.Int(c.Time)
		ids(e, c.Kind, c.Object, c.What)
	}
}

func (x *Decoder) pod(p *Pod) {
	d := x.d
	n := x.row("pod", podLen)
	p.UID, p.Namespace, p.Name, p.Node, p.IP, p.ServiceAccount, p.NamespaceUID = x.str(), x.str(), x.str(), x.str(), x.str(), x.str(), x.str()
	p.Owners = p.Owners[:0]
	for range d.Array("owners", maxList) {
		m := x.row("owner", 3)
		p.Owners = append(p.Owners, Owner{Kind: x.str(), Name: x.str(), UID: x.str()})
		d.Skip(m - 3)
	}
	p.Labels, p.NamespaceLabels = x.labels(p.Labels[:0]), x.labels(p.NamespaceLabels[:0])
	p.Services = x.list(p.Services[:0], "services")
	p.Changes = p.Changes[:0]
	for range d.Array("changes", maxList) {
		m := x.row("change", 4)
		p.Changes = append(p.Changes, Change{Time: d.Int(), Kind: x.str(), Object: x.str(), What: x.str()})
		d.Skip(m - 4)
	}
	d.Skip(n - podLen)
}

func encodeContext(e *wire.Encoder, b *Batch) {
	e.Array(len(b.Addresses))
	for i := range b.Addresses {
		b.Addresses[i].encode(e)
	}
	e.Array(len(b.Pods))
	for i := range b.Pods {
		b.Pods[i].encode(e)
	}
}

// context reads the tables behind the events; have tells how many elements are left there.
func (x *Decoder) context(b *Batch, left int) {
	d := x.d
	b.Addresses, b.Pods = b.Addresses[:0], b.Pods[:0]
	if left >= 1 {
		b.Addresses = resize(b.Addresses, d.Array("addresses", maxRows))
		for i := range b.Addresses {
			x.address(&b.Addresses[i])
		}
		sortAddresses(b.Addresses)
	}
	if left >= 2 {
		b.Pods = resize(b.Pods, d.Array("pods", maxRows))
		for i := range b.Pods {
			x.pod(&b.Pods[i])
		}
	}
	d.Skip(left - contextLen)
}

const contextLen = 2
