package celenv

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// set is a constant list of strings that finds a member by hash.
type set struct {
	traits.Lister
	members map[string]struct{}
}

func newSet(items []string) ref.Val {
	m := make(map[string]struct{}, len(items))
	for _, s := range items {
		m[s] = struct{}{}
	}
	return &set{types.NewStringList(types.DefaultTypeAdapter, items), m}
}

// Contains implements [traits.Container].
func (s *set) Contains(v ref.Val) ref.Val {
	x, ok := v.(types.String)
	if !ok {
		return s.Lister.Contains(v)
	}
	_, in := s.members[string(x)]
	return types.Bool(in)
}
