package compile

import (
	"cmp"
	"slices"
)

// price is what deciding n costs where it is used: something kept per process row is a look at a byte.
func price(n *node) float64 {
	if n.level <= levelRow && n.free == 0 {
		return costMemo
	}
	return n.cost
}

// order sorts the terms of && (or ||) so that those which decide most for least come first, and
// tells the expected cost and chance of the whole. CEL's && and || do not depend on the order.
func order(terms []*node, and bool, result func(cost, p float64)) []*node {
	out := slices.Clone(terms)
	stop := func(n *node) float64 {
		if and {
			return 1 - n.p
		}
		return n.p
	}
	slices.SortStableFunc(out, func(a, b *node) int {
		return cmp.Compare(price(a)/max(stop(a), 0.001), price(b)/max(stop(b), 0.001))
	})
	cost, goOn := 0.0, 1.0
	for _, t := range out {
		cost += goOn * price(t)
		goOn *= 1 - stop(t)
	}
	if result != nil {
		if and {
			result(cost, goOn)
		} else {
			result(cost, 1-goOn)
		}
	}
	return out
}
