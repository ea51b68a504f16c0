package bus

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Codec names how a payload is compressed; it travels in [HeaderCodec].
type Codec string

// The codecs.
const (
	S2   Codec = "s2"
	Zstd Codec = "zstd"
	None Codec = "none"
)

// HeaderCodec is the message header that names the codec; a message without it is not compressed.
const HeaderCodec = "Gyre-Codec"

// maxDecoded bounds what a payload may grow to, in bytes.
const maxDecoded = 64 << 20

// ErrPayload is returned for a payload that does not decompress, or to too much. It is permanent.
var ErrPayload = errors.New("payload does not decompress")

func (c Codec) valid() bool { return c == S2 || c == Zstd || c == None }

// zstdCoder holds the zstd state, which is safe for concurrent use and made when first needed.
type zstdCoder struct {
	once sync.Once
	enc  *zstd.Encoder
	dec  *zstd.Decoder
	err  error
}

func (z *zstdCoder) init() error {
	z.once.Do(func() {
		if z.enc, z.err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest)); z.err == nil {
			z.dec, z.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoded))
		}
	})
	return z.err
}

// coder compresses and decompresses payloads.
type coder struct{ z zstdCoder }

func (c *coder) encode(codec Codec, data []byte) ([]byte, error) {
	switch codec {
	case S2:
		return s2.Encode(nil, data), nil
	case Zstd:
		if err := c.z.init(); err != nil {
			return nil, fmt.Errorf("start zstd: %w", err)
		}
		return c.z.enc.EncodeAll(data, nil), nil
	default:
		return append([]byte(nil), data...), nil
	}
}

func (c *coder) decode(codec Codec, data []byte) ([]byte, error) {
	switch codec {
	case "", None:
		return data, nil
	case S2:
		n, err := s2.DecodedLen(data)
		if err != nil {
			return nil, fmt.Errorf("%w: s2: %w", ErrPayload, err)
		}
		if n > maxDecoded {
			return nil, fmt.Errorf("%w: s2: %d bytes, at most %d", ErrPayload, n, maxDecoded)
		}
		out, err := s2.Decode(nil, data)
		if err != nil {
			return nil, fmt.Errorf("%w: s2: %w", ErrPayload, err)
		}
		return out, nil
	case Zstd:
		if err := c.z.init(); err != nil {
			return nil, fmt.Errorf("start zstd: %w", err)
		}
		out, err := c.z.dec.DecodeAll(data, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrPayload, err)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%w: unknown codec %q", ErrPayload, codec)
	}
}
