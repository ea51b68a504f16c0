package celenv

import (
	"encoding/base64"
	"net/netip"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

func functions() []cel.EnvOption {
	return append(
		falcoFunctions(),
		either("glob", Glob),
		either("pathPrefix", PathPrefix),
		either("inCidr", InCIDR),
		listOnly("startsWithAny", strings.HasPrefix),
		listOnly("endsWithAny", strings.HasSuffix),
		listOnly("containsAny", strings.Contains),
		unary("basename", Basename),
		unary("lower", strings.ToLower),
		unary("b64decode", DecodeBase64),
		either("iequals", folded(func(s, x string) bool { return s == x })),
		either("icontains", folded(strings.Contains)),
		either("istartsWith", folded(strings.HasPrefix)),
		either("iendsWith", folded(strings.HasSuffix)),
		either("iglob", folded(Glob)),
		cel.Function("ancestor", cel.MemberOverload("gyre_ancestor", []*cel.Type{cel.ListType(cel.StringType), cel.IntType}, cel.StringType, cel.BinaryBinding(ancestor))),
	)
}

// folded compares both sides without regard to the case of ASCII letters, as Falco does.
func folded(fn func(s, arg string) bool) func(s, arg string) bool {
	return func(s, arg string) bool { return fn(LowerASCII(s), LowerASCII(arg)) }
}

// ancestor is the element of a list at a place, "" if there is none there.
func ancestor(list, place ref.Val) ref.Val {
	l, ok1 := list.(traits.Lister)
	i, ok2 := place.(types.Int)
	if !ok1 || !ok2 {
		return types.MaybeNoSuchOverloadErr(list)
	}
	n, _ := l.Size().(types.Int)
	if i < 0 || i >= n {
		return types.String("")
	}
	return l.Get(i)
}

// DecodeBase64 decodes the standard or the URL alphabet, padded or not; text that is neither gives "".
func DecodeBase64(s string) string {
	s = strings.TrimRight(s, "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	out, err := enc.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(out)
}

func on(fn func(s, arg string) bool) cel.OverloadOpt {
	return cel.BinaryBinding(func(a, b ref.Val) ref.Val {
		s, ok1 := a.(types.String)
		arg, ok2 := b.(types.String)
		if !ok1 || !ok2 {
			return types.MaybeNoSuchOverloadErr(b)
		}
		return types.Bool(fn(string(s), string(arg)))
	})
}

func onList(fn func(s, arg string) bool) cel.OverloadOpt {
	return cel.BinaryBinding(func(a, b ref.Val) ref.Val {
		s, ok1 := a.(types.String)
		list, ok2 := b.(traits.Lister)
		if !ok1 || !ok2 {
			return types.MaybeNoSuchOverloadErr(b)
		}
		n, _ := list.Size().(types.Int)
		for i := range n {
			if x, ok := list.Get(i).(types.String); ok && fn(string(s), string(x)) {
				return types.True
			}
		}
		return types.False
	})
}

func listOnly(name string, fn func(s, arg string) bool) cel.EnvOption {
	return cel.Function(name, cel.MemberOverload("gyre_"+name, []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType, onList(fn)))
}

func either(name string, fn func(s, arg string) bool) cel.EnvOption {
	return cel.Function(
		name,
		cel.MemberOverload("gyre_"+name, []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, on(fn)),
		cel.MemberOverload("gyre_"+name+"_list", []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType, onList(fn)),
	)
}

func unary(name string, fn func(string) string) cel.EnvOption {
	return cel.Function(name, cel.MemberOverload("gyre_"+name, []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(a ref.Val) ref.Val {
		s, ok := a.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(a)
		}
		return types.String(fn(string(s)))
	})))
}

// PathPrefix tells whether s is the path dir or lies below it.
func PathPrefix(s, dir string) bool {
	if s == "" || dir == "" {
		return false
	}
	dir = strings.TrimSuffix(dir, "/")
	return strings.HasPrefix(s, dir) && (len(s) == len(dir) || s[len(dir)] == '/')
}

// InCIDR tells whether s is an address inside of a network; text that is neither is inside of nothing.
func InCIDR(s, network string) bool {
	n, err := netip.ParsePrefix(network)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(s)
	return err == nil && n.Contains(a.Unmap())
}

// Basename is what follows the last slash.
func Basename(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

// Glob matches all of s: * is any run of bytes, also over slashes, ? is one byte, [a-z] one of a set, [!a-z] none of it.
// It takes time in proportion to len(s) * len(pattern) at most.
func Glob(s, pattern string) bool {
	i, p, star, mark := 0, 0, -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if p < len(pattern) {
			if n, ok := one(pattern[p:], s[i]); ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// one matches c with the first element of a pattern and returns the element's length.
func one(pattern string, c byte) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		end := strings.IndexByte(pattern[1:], ']')
		if end < 1 {
			return 1, c == '['
		}
		set := pattern[1 : 1+end]
		not := set[0] == '!' && len(set) > 1
		if not {
			set = set[1:]
		}
		in := false
		for i := 0; i < len(set); i++ {
			if i+2 < len(set) && set[i+1] == '-' {
				in = in || set[i] <= c && c <= set[i+2]
				i += 2
				continue
			}
			in = in || set[i] == c
		}
		return end + 2, in != not
	}
	return 1, pattern[0] == c
}
