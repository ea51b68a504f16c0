package field

import "github.com/gyre-sec/gyre/schemas/eventv1"

// end picks one of the two ends of a socket.
type end func(*fdInfo) eventv1.StrID

// ends are the prefixes of the fields about each end.
var ends = []struct {
	prefix, doc string
	of          end
}{
	{"fd.cip", "the client", func(f *fdInfo) eventv1.StrID { return f.pick(f.server) }},
	{"fd.sip", "the server", func(f *fdInfo) eventv1.StrID { return f.pick(!f.server) }},
	{"fd.lip", "the local end", func(f *fdInfo) eventv1.StrID { return f.localID }},
	{"fd.rip", "the remote end", func(f *fdInfo) eventv1.StrID { return f.remoteID }},
}

func (f *fdInfo) pick(remote bool) eventv1.StrID {
	if remote {
		return f.remoteID
	}
	return f.localID
}

// netAddr is the row of an end of the event's socket, nil if nothing is known of it.
func (v *View) netAddr(of end) *eventv1.NetAddr {
	f := v.fdOf()
	if !f.hasAddr {
		return nil
	}
	id := of(f)
	if id == 0 {
		return nil
	}
	return v.b.Address(id)
}

func addrStr(name, doc string, of end, kinds []eventv1.Kind, get func(*eventv1.NetAddr) eventv1.StrID) Field {
	return str(name, FromEvent, doc, func(v *View) (string, bool) {
		a := v.netAddr(of)
		if a == nil {
			return "", false
		}
		return v.text(get(a))
	}).only(kinds...)
}

// netAddrFields are what is known of the addresses of sockets.
func netAddrFields() []Field {
	socks := kindsWhere(func(k eventv1.Kind) bool { return places[k].socket >= 0 })
	var out []Field
	for _, e := range ends {
		out = append(
			out,
			addrStr(e.prefix+".name", "domain name of "+e.doc+": the last one that the node saw resolved to this address", e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.Name }),
			addrStr(e.prefix+".country", "country of "+e.doc+", an ISO 3166 code such as DE", e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.Country }),
			num(e.prefix+".asn", FromEvent, "number of the autonomous system of "+e.doc, func(v *View) (int64, bool) {
				a := v.netAddr(e.of)
				if a == nil || a.ASN == 0 {
					return 0, false
				}
				return int64(a.ASN), true
			}).only(socks...),
			addrStr(e.prefix+".as_org", "who runs the autonomous system of "+e.doc, e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.ASOrg }),
			addrStr(e.prefix+".service", "Kubernetes service with the address of "+e.doc+", namespace/name", e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.Service }),
			addrStr(e.prefix+".pod", "Kubernetes pod with the address of "+e.doc+", namespace/name", e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.Pod }),
			addrStr(e.prefix+".workload", "Kubernetes workload with the address of "+e.doc+", kind/namespace/name", e.of, socks, func(a *eventv1.NetAddr) eventv1.StrID { return a.Workload }),
			list(e.prefix+".label", FromEvent, "labels of the networks of "+e.doc+", name=value; "+e.prefix+".label.valueOf(\"zone\") is one", func(v *View) ([]string, bool) {
				a := v.netAddr(e.of)
				if a == nil || len(a.Labels) == 0 {
					return nil, false
				}
				return v.labels(a.Labels), true
			}).only(socks...),
		)
	}
	return out
}

// labels tells labels as name=value.
func (v *View) labels(l []eventv1.Label) []string {
	out := make([]string, len(l))
	for i, x := range l {
		out[i] = v.b.Text(x.Key) + "=" + v.b.Text(x.Value)
	}
	return out
}
