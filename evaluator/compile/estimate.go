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
	case opConcat, opToStr, opLower, opDecode, opLowerASCII, opUpperASCII, opIsBase64, opJoin, opValueOf:
		n.cost += 60
	case opHasValue:
		n.cost, n.p = n.cost+40, 0.05
	case opLowerEach, opUpperEach, opGetOpt, opOptValue, opHasOpt:
		n.cost += 200
	case opLoop:
		n.cost, n.p = n.args[0].cost+6*n.args[1].cost, 0.2
	}
}

func (p *pattern) estimate() (cost, chance float64) {
	n := float64(len(p.pats))
	switch p.mode {
	case modeEqual:
		cost, chance = math.Min(1.5*n, 5), 0.05
	case modePrefix, modePath, modePrefixHex:
		cost, chance = math.Min(2*n, 10), 0.1
	case modeSuffix:
		cost, chance = 3, 0.1
	case modeContains, modeContainsHex:
		cost, chance = math.Min(12*n, 60), 0.1
	case modeGlob, modePathMatch, modeFNMatch, modeFNMatchFold:
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

// first is what deciding n is thought to cost when nothing is known of the process either.
func first(n *node) float64 {
	switch n.op {
	case opNot:
		return first(n.args[0])
	case opAnd, opOr:
		cost, goOn := 0.0, 1.0
		for _, t := range order(n.args, n.op == opAnd, nil) {
			cost += goOn * first(t)
			if n.op == opAnd {
				goOn *= t.p
			} else {
				goOn *= 1 - t.p
			}
		}
		return cost
	}
	return n.cost
}
