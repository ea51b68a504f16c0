package rule

import "time"

// The kinds of correlation rules. A rule without a kind is about single events.
const (
	KindMatch     = "match"
	KindSequence  = "sequence"
	KindThreshold = "threshold"
	KindDistinct  = "distinct"
	KindAbsence   = "absence"
	KindFirstSeen = "first_seen"
	KindRate      = "rate"
)

// The scopes of correlation rules: which events can be about the same thing.
const (
	ScopeNode      = "node"
	ScopeContainer = "container"
	ScopeLineage   = "lineage"
	ScopeFleet     = "fleet"
)

// StepEvent is the name of the only step of a rule that has a condition and no steps.
const StepEvent = "event"

// Bounds of correlation rules.
const (
	MaxSteps     = 8
	MaxBy        = 8
	MaxCount     = 10_000    // events of a threshold, whose times are all remembered
	MaxDistinct  = 1_000_000 // values of a distinct count; beyond 1,000 they are estimated
	MaxStepCount = 100
	MaxRate      = 1_000_000_000
	MaxBuckets   = 288 // of a rate's baseline
	// MaxMemory bounds the window and the learning time of kind first_seen, which remembers one time per key.
	MaxMemory = 30 * 24 * time.Hour
)

// Correlation is what a rule says about several events.
type Correlation struct {
	Kind, Scope string
	// By are the fields whose values, with the scope, make the key: only events of the same key belong together.
	By     []Text
	Within time.Duration
	Steps  []Step
	// Until is a condition: an event of the key that satisfies it ends what has begun. Empty for none.
	Until Text
	// Count is how many events (threshold, rate) or values (distinct) are too many.
	Count int
	// Distinct is the field whose values are counted.
	Distinct Text
	// Baseline and Factor: a rate is too high if it is Factor times the mean of the windows of Baseline; 0 for a fixed one.
	Baseline time.Duration
	Factor   float64
	// Learn is for how long keys are only remembered after the rule came into force.
	Learn time.Duration
	Pos   Pos
}

// Step is one condition of a correlation rule.
type Step struct {
	Name      string
	Condition Text
	// By replaces the rule's fields for the events of this step; nil leaves them.
	By []Text
	// Count is how many events the step takes, 1 or more.
	Count int
	// Every: of the events of a key only one in each interval is looked at; 0 for all.
	Every time.Duration
	Pos   Pos
}
