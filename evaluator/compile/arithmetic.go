package compile

import "math"

// arithmetic is that of CEL: a result that does not fit is an error.
func arithmetic(o op) func(a, b int64) (int64, tri) {
	switch o {
	case opAdd:
		return func(a, b int64) (int64, tri) {
			c := a + b
			if (a > 0 && b > 0 && c <= 0) || (a < 0 && b < 0 && c >= 0) {
				return 0, errOverflow
			}
			return c, no
		}
	case opSub:
		return func(a, b int64) (int64, tri) {
			c := a - b
			if (a >= 0 && b < 0 && c < 0) || (a < 0 && b > 0 && c >= 0) {
				return 0, errOverflow
			}
			return c, no
		}
	case opMul:
		return func(a, b int64) (int64, tri) {
			if a == 0 || b == 0 {
				return 0, no
			}
			c := a * b
			if c/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
				return 0, errOverflow
			}
			return c, no
		}
	case opDiv:
		return func(a, b int64) (int64, tri) {
			switch {
			case b == 0:
				return 0, errDivide
			case a == math.MinInt64 && b == -1:
				return 0, errOverflow
			}
			return a / b, no
		}
	}
	return func(a, b int64) (int64, tri) {
		switch {
		case b == 0:
			return 0, errModulus
		case a == math.MinInt64 && b == -1:
			return 0, errOverflow
		}
		return a % b, no
	}
}
