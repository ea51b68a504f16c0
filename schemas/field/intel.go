package field

import (
	"net/netip"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Indicators are the lists of threat intelligence that the fields intel.* ask. Each
// method returns the name of a list that holds its argument, "" if none does. They must
// not allocate, and give the same answers for all events of a batch.
type Indicators interface {
	IP(netip.Addr) string
	Domain(string) string
	Path(string) string
	// SHA256 takes the 32 bytes of the sum.
	SHA256(string) string
}

// Indicators makes v ask x for the fields intel.*; without it they are absent. It must be called between batches.
func (v *View) Indicators(x Indicators) { v.indicators = x }

func intel(name, doc string, get func(*View) string) Field {
	return str(name, FromIntel, doc, func(v *View) (string, bool) {
		if v.indicators == nil {
			return "", false
		}
		s := get(v)
		return s, s != ""
	})
}

// intelFields are the names of the lists that something of the event is on.
func intelFields() []Field {
	socks := kindsWhere(func(k eventv1.Kind) bool { return places[k].socket >= 0 })
	hash := intel("intel.hash", "list of threat intelligence that has the SHA-256 of the program file", func(v *View) string {
		if v.p == nil || v.p.ExeHash == 0 {
			return ""
		}
		return v.indicators.SHA256(v.b.Text(v.p.ExeHash))
	})
	hash.From = FromProcess // it is the same for all events of a process in a batch
	return []Field{
		intel("intel.ip", "list of threat intelligence that has the address of the remote or the local end", func(v *View) string {
			f := v.fdOf()
			if !f.hasAddr {
				return ""
			}
			for _, a := range [...]netip.AddrPort{f.remote, f.local} {
				if !a.Addr().IsValid() {
					continue
				}
				if s := v.indicators.IP(a.Addr()); s != "" {
					return s
				}
			}
			return ""
		}).only(socks...),
		intel("intel.domain", "list of threat intelligence that has the domain name of the remote or the local end, or a domain above it", func(v *View) string {
			for i := range 2 {
				a := v.netAddr(ends[3-i].of)
				if a == nil || a.Name == 0 {
					continue
				}
				if s := v.indicators.Domain(v.b.Text(a.Name)); s != "" {
					return s
				}
			}
			return ""
		}).only(socks...),
		intel("intel.path", "list of threat intelligence that has the path of the file, or of the program file of the process, or a directory above it", func(v *View) string {
			if f := v.fdOf(); f.path && f.name != "" {
				if s := v.indicators.Path(f.name); s != "" {
					return s
				}
			}
			if v.p == nil || v.p.Exe == 0 {
				return ""
			}
			return v.indicators.Path(v.b.Text(v.p.Exe))
		}),
		hash,
	}
}
