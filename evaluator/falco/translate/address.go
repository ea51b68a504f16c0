package translate

import (
	"errors"
	"net/netip"
	"strings"
)

// address compares an IP address, with addresses or with networks.
func (t *translator) address(v value, op string, values []string) (cond, error) {
	norm := make([]string, len(values))
	for i, s := range values {
		x, err := normalAddress(v.network, s)
		if err != nil {
			return cond{}, err
		}
		norm[i] = x
	}
	if len(norm) == 0 {
		return alwaysFalse, nil
	}
	if !v.network {
		if op == "in" {
			return t.member(v, norm), nil
		}
		c, hazard, err := textOp(v.text, op, norm[0])
		return v.guarded(c, hazard), err
	}
	c := call(v.text, "inCidr", quote(norm[0]))
	if op == "in" && len(norm) > 1 {
		c = call(v.text, "inCidr", quoteAll(norm))
	}
	if op == "!=" {
		return v.guarded(not(c), true), nil
	}
	return v.guarded(c, false), nil
}

// normalAddress writes an address or a network as gyre does, so that texts can be compared.
func normalAddress(network bool, s string) (string, error) {
	if network {
		addr, bits, ok := strings.Cut(s, "/")
		if !ok {
			return "", errors.New("unrecognized IP network " + s)
		}
		a, err := netip.ParseAddr(addr)
		if err != nil || a.Zone() != "" {
			return "", errors.New("unrecognized IP address " + s)
		}
		p, err := netip.ParsePrefix(a.String() + "/" + bits)
		if err != nil {
			return "", errors.New("invalid netmask " + bits)
		}
		return p.Masked().String(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", errors.New("unrecognized IP address " + s)
	}
	return a.Unmap().String(), nil
}
