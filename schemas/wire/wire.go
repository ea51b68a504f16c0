// Package wire reads and writes msgpack arrays for the versioned packages beside
// it. It adds to the msgpack codec what a decoder of hostile input needs: lengths
// are compared with the bytes that are left before anything is allocated, nesting
// of skipped values is bounded, and strings are cut from one copy of the input.
//
// The decoder reads the bytes itself, which is several times as fast as the codec through a reader: every event of the
// fleet passes it more than once.
//
// A [Decoder] keeps its first error: read on and check [Decoder.Err] once.
package wire

import "errors"

// ErrMalformed is wrapped by every decoding error: the same bytes will never decode.
var ErrMalformed = errors.New("malformed message")

// maxSkipDepth bounds the nesting of values that a reader skips.
const maxSkipDepth = 16
