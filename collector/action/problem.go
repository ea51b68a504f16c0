package action

import (
	"errors"
	"fmt"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// The codes of results. They are part of the contract: rules match on them.
const (
	CodeOversized    = "oversized"
	CodeMalformed    = "malformed"
	CodeUnsigned     = "unsigned"
	CodeUnknownKey   = "unknown_key"
	CodeBadSignature = "bad_signature"
	CodeInvalid      = "invalid"
	CodeForeignNode  = "foreign_node"
	CodeNotYetValid  = "not_yet_valid"
	CodeExpired      = "expired"
	CodeBeforeStart  = "before_start"
	CodeReplayed     = "replayed"
	CodeBusy         = "busy"
	CodeNotAllowed   = "not_allowed"
	CodeRateLimited  = "rate_limited"
	CodeNoTarget     = "no_such_target"
	CodeOtherBoot    = "other_boot"
	CodeReused       = "pid_reused"
	CodeChanged      = "executed_other"
	CodeProtected    = "protected"
	CodeOutOfScope   = "out_of_scope"
	CodeAmbiguous    = "ambiguous"
	CodeUnsupported  = "unsupported"
	CodeDryRun       = "dry_run"
	CodeStillRunning = "still_running"
	CodeFailed       = "failed"
)

// Codes lists them all.
func Codes() []string {
	return []string{
		CodeOversized, CodeMalformed, CodeUnsigned, CodeUnknownKey, CodeBadSignature, CodeInvalid,
		CodeForeignNode, CodeNotYetValid, CodeExpired, CodeBeforeStart, CodeReplayed, CodeBusy,
		CodeNotAllowed, CodeRateLimited, CodeNoTarget, CodeOtherBoot, CodeReused, CodeChanged,
		CodeProtected, CodeOutOfScope, CodeAmbiguous, CodeUnsupported, CodeDryRun, CodeStillRunning,
		CodeFailed,
	}
}

// problem is why a request was refused, or failed after it was begun.
type problem struct {
	status       actionv1.Status
	code, reason string
}

// Error returns the reason.
func (p *problem) Error() string { return p.code + ": " + p.reason }

func refuse(code, format string, args ...any) error {
	return &problem{actionv1.Refused, code, fmt.Sprintf(format, args...)}
}

func fail(code, format string, args ...any) error {
	return &problem{actionv1.Failed, code, fmt.Sprintf(format, args...)}
}

func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return &problem{actionv1.Failed, CodeFailed, err.Error()}
}
