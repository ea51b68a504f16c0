package compile

import (
	"net/netip"
	"slices"
)

// cidrAny tells whether an address lies in one of the networks: one look-up for each length of prefix that occurs.
func cidrAny(pats []string) func(string) bool {
	table := map[netip.Prefix]struct{}{}
	var bits4, bits6 []int
	for _, p := range pats {
		n, err := netip.ParsePrefix(p)
		if err != nil {
			continue // as celenv.InCIDR: text that is no network holds nothing
		}
		table[n.Masked()] = struct{}{}
		if n.Addr().Is4() {
			bits4 = append(bits4, n.Bits())
		} else {
			bits6 = append(bits6, n.Bits())
		}
	}
	slices.Sort(bits4)
	slices.Sort(bits6)
	bits4, bits6 = slices.Compact(bits4), slices.Compact(bits6)
	return func(s string) bool {
		if len(s) < 2 {
			return false
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return false
		}
		if a = a.Unmap(); a.Zone() != "" {
			return false // a network never holds an address with a zone
		}
		bits := bits6
		if a.Is4() {
			bits = bits4
		}
		for _, b := range bits {
			n, _ := a.Prefix(b)
			if _, in := table[n]; in {
				return true
			}
		}
		return false
	}
}
