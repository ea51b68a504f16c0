package action

import (
	"context"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// execute carries out a request that is authentic, new and valid, as far as the policy lets it. What it finds goes
// into r; an error is what r's status, code and reason become.
func (e *Executor) execute(ctx context.Context, req *actionv1.Request, key string, policy *Policy, r *actionv1.Result) error {
	if !policy.allows(req.Action, key) {
		return refuse(CodeNotAllowed, "the policy of this node does not allow %s to %q", req.Action, key)
	}
	if !e.rate.allow(e.now(), policy.RateLimit) {
		return refuse(CodeRateLimited, "the policy of this node allows %d requests per minute", policy.RateLimit)
	}
	switch req.Action {
	case actionv1.Kill:
		return e.kill(ctx, req, key, policy, r)
	case actionv1.KillTree:
		return e.killTree(ctx, req, key, policy, r)
	case actionv1.PauseContainer, actionv1.ResumeContainer, actionv1.StopContainer:
		return e.onContainer(ctx, req, key, policy, r)
	default:
		return refuse(CodeInvalid, "unknown action %q", req.Action)
	}
}
