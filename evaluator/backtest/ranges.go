package backtest

import "sort"

// ranges is a set of numbers as a sorted list of ranges [first, last]. Numbers that come almost in order make it short.
type ranges struct {
	List [][2]uint64 `json:"list"`
}

// add adds first to last; false means that all of them were there.
func (r *ranges) add(first, last uint64) bool {
	// i is the first range that ends at first-1 or later: the first that can touch the new one.
	i := sort.Search(len(r.List), func(i int) bool { return r.List[i][1] >= first || r.List[i][1]+1 == first })
	if i == len(r.List) {
		r.List = append(r.List, [2]uint64{first, last})
		return true
	}
	if r.List[i][0] <= first && last <= r.List[i][1] {
		return false
	}
	k := i
	for ; k < len(r.List) && (r.List[k][0] <= last || r.List[k][0] == last+1); k++ {
		first, last = min(first, r.List[k][0]), max(last, r.List[k][1])
	}
	if k == i {
		r.List = append(r.List[:i], append([][2]uint64{{first, last}}, r.List[i:]...)...)
		return true
	}
	r.List[i] = [2]uint64{first, last}
	r.List = append(r.List[:i+1], r.List[k:]...)
	return true
}
