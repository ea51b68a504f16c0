package celenv

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// falcoFunctions are those that the operators and transformers of Falco's language need
// and plain CEL lacks. They are for native rules too.
//
//	s.pmatch(pattern|list)       PathMatch: path or below, component by component
//	s.fnmatch(pattern|list)      also ifnmatch: fnmatch(3), which knows more than glob
//	s.bcontains(hex|list)        also bstartsWith: bytes in hexadecimal
//	s.lowerAscii()               also upperAscii; on lists of strings too
//	s.isBase64()                 tells whether s is standard Base64, with or without padding
//	list.join(separator)         one string of all
//	list.ancestors()             proc.aname and its like without the process itself
//	list.valueOf(name)           what follows name= in proc.env; list.hasValue(name) tells whether it is there
//	list.indexOfMatch(regex)     number of the first element in which the expression is found, -1 if in none
//	list.getopt(spec)            short options and their arguments, see GetOpt
//	list.optValue(spec, letter)  argument of the last such option; list.hasOpt(spec, letter)
func falcoFunctions() []cel.EnvOption {
	str, strs := cel.StringType, cel.ListType(cel.StringType)
	return []cel.EnvOption{
		either("pmatch", PathMatch),
		either("fnmatch", FNMatch),
		either("ifnmatch", FNMatchFold),
		either("bcontains", ContainsHex),
		either("bstartsWith", HasPrefixHex),
		eachOf("lowerAscii", LowerASCII),
		eachOf("upperAscii", UpperASCII),
		cel.Function("isBase64", cel.MemberOverload("gyre_isBase64", []*cel.Type{str}, cel.BoolType, cel.UnaryBinding(func(a ref.Val) ref.Val {
			s, ok := a.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(a)
			}
			valid := IsBase64(string(s))
			return types.Bool(valid)
		}))),
		listFunc("join", []*cel.Type{strs, str}, str, func(l, a []string) any { return strings.Join(l, a[0]) }),
		listFunc("ancestors", []*cel.Type{strs}, strs, func(l, _ []string) any { return l[min(1, len(l)):] }),
		listFunc("valueOf", []*cel.Type{strs, str}, str, func(l, a []string) any { v, _ := ValueOf(l, a[0]); return v }),
		listFunc("hasValue", []*cel.Type{strs, str}, cel.BoolType, func(l, a []string) any { _, ok := ValueOf(l, a[0]); return ok }),
		listFunc("indexOfMatch", []*cel.Type{strs, str}, cel.IntType, func(l, a []string) any { return IndexOfMatch(l, a[0]) }),
		listFunc("getopt", []*cel.Type{strs, str}, strs, func(l, a []string) any { return GetOpt(l, a[0]) }),
		listFunc("optValue", []*cel.Type{strs, str, str}, str, func(l, a []string) any { v, _ := OptValue(l, a[0], a[1]); return v }),
		listFunc("hasOpt", []*cel.Type{strs, str, str}, cel.BoolType, func(l, a []string) any { _, ok := OptValue(l, a[0], a[1]); return ok }),
	}
}

// IndexOfMatch is the number of the first element in which the expression is found, -1 if in none or if it is no expression.
func IndexOfMatch(l []string, pattern string) int {
	if len(l) == 0 {
		return -1
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(l, re.MatchString)
}

// eachOf declares a function of a string that also applies to every element of a list.
func eachOf(name string, fn func(string) string) cel.EnvOption {
	strs := cel.ListType(cel.StringType)
	return cel.Function(
		name,
		cel.MemberOverload("gyre_"+name, []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(func(a ref.Val) ref.Val {
			s, ok := a.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(a)
			}
			return types.String(fn(string(s)))
		})),
		cel.MemberOverload("gyre_"+name+"_list", []*cel.Type{strs}, strs, cel.UnaryBinding(func(a ref.Val) ref.Val {
			l, ok := goStrings(a)
			if !ok {
				return types.MaybeNoSuchOverloadErr(a)
			}
			out := make([]string, len(l))
			for i, s := range l {
				out[i] = fn(s)
			}
			return types.NewStringList(types.DefaultTypeAdapter, out)
		})),
	)
}

// listFunc declares a member function of a list of strings; its other arguments are strings.
func listFunc(name string, args []*cel.Type, result *cel.Type, fn func(l, a []string) any) cel.EnvOption {
	return cel.Function(name, cel.MemberOverload("gyre_"+name, args, result, cel.FunctionBinding(func(vals ...ref.Val) ref.Val {
		l, ok := goStrings(vals[0])
		if !ok {
			return types.MaybeNoSuchOverloadErr(vals[0])
		}
		rest := make([]string, len(vals)-1)
		for i, v := range vals[1:] {
			s, ok := v.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(v)
			}
			rest[i] = string(s)
		}
		switch x := fn(l, rest).(type) {
		case string:
			return types.String(x)
		case bool:
			return types.Bool(x)
		case int:
			return types.Int(x)
		case []string:
			return types.NewStringList(types.DefaultTypeAdapter, x)
		default:
			return types.NewErr("%s returned %T", name, x)
		}
	})))
}

func goStrings(v ref.Val) ([]string, bool) {
	l, ok := v.(traits.Lister)
	if !ok {
		return nil, false
	}
	n, _ := l.Size().(types.Int)
	out := make([]string, n)
	for i := range out {
		s, ok := l.Get(types.Int(i)).(types.String)
		if !ok {
			return nil, false
		}
		out[i] = string(s)
	}
	return out, true
}
