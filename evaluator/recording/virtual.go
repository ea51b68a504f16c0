package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Virtual turns batches of a recording into those of nodes that do not exist. It is not safe for concurrent use.
type Virtual struct {
	run   string
	dec   *eventv1.Decoder
	enc   *eventv1.Encoder
	batch eventv1.Batch
	names map[virtualKey]virtualName
}

type virtualKey struct {
	node, boot string
	n          int
}

type virtualName struct{ node, boot string }

// NewVirtual returns one. Nodes of another run are booted another time, so that their events are other events.
func NewVirtual(run string) *Virtual {
	return &Virtual{run: run, dec: eventv1.NewDecoder(), enc: eventv1.NewEncoder(), names: map[virtualKey]virtualName{}}
}

// Decode takes a batch of the recording.
func (v *Virtual) Decode(data []byte) (*eventv1.Batch, error) {
	return &v.batch, v.dec.Decode(data, &v.batch)
}

// Encode returns the decoded batch as that of virtual node n, shift nanoseconds later; it is valid until the next call. The
// node is called NODE-n with four digits or more.
func (v *Virtual) Encode(n int, shift int64) (data []byte, node, boot string) {
	b := v.batch
	key := virtualKey{b.Node, b.BootID, n}
	name, ok := v.names[key]
	if !ok {
		h := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d", v.run, b.Node, b.BootID, n))
		x := hex.EncodeToString(h[:16])
		name = virtualName{fmt.Sprintf("%s-%04d", b.Node, n), x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]}
		v.names[key] = name
	}
	b.Node, b.BootID = name.node, name.boot
	b.BaseTime += shift
	b.BootTime += shift
	return v.enc.Encode(&b), name.node, name.boot
}
