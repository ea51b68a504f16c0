package compile

import "math"

// The costs are rough nanoseconds on the development machine; only their order matters.
const (
	costMemo    = 2
	costField   = 6
	costCompare = 1.5
	costRegex   = 250
)

// estimate sets what evaluating n once is thought to cost, and how likely it is true.
func estimate(n *node) {
	n.cost, n.p = costCompare, 0.5
	for _, a := range n.args {
		n.cost += a.cost
	}
	switch n.op {
	case opConst, opListConst, opVar:
		n.cost, n.p = 0.5, 0.5
	case opField:
		n.cost, n.p = costField, 0.3
		if n.typ == tList {
			n.cost = 60
		}
	case opHas:
		n.cost, n.p = costField, 0.6
	case opNot:
		n.cost, n.p = n.args[0].cost, 1-n.args[0].p
	case opAnd, opOr:
		order(n.args, n.op == opAnd, func(cost, p float64) { n.cost, n.p = cost, p })
	case opEq, opIntSet:
		n.p = 0.2
	case opMatch:
		c, p := n.match.estimate()
		n.cost, n.p = n.cost+c, p
	case opDyn:
		n.cost, n.p = n.cost+30, 0.1
	case opValueOf:
		n.cost += 40
	case opHasValue:
		n.cost, n.p = n.cost+40, 0.3
	case opConcat, opToStr, opLower, opDecode:
		n.cost += 60
	case opLoop:
		n.cost, n.p = n.args[0].cost+6*n.args[1].cost, 0.2
	}
}

func (p *pattern) estimate() (cost, chance float64) {
	n := float64(len(p.pats))
	switch p.mode {
	case modeEqual:
		cost, chance = math.Min(1.5*n, 5), 0.05
	case modePrefix, modePath:
		cost, chance = math.Min(2*n, 10), 0.1
	case modeSuffix:
		cost, chance = 3, 0.1
	case modeContains:
		cost, chance = math.Min(12*n, 60), 0.1
	case modeGlob:
		cost, chance = math.Min(4*n, 20), 0.05
	case modeCIDR:
		cost, chance = 60, 0.3
	default:
		cost, chance = costRegex*n, 0.1
	}
	if p.fold {
		cost += 15
	}
	return cost, chance
}
