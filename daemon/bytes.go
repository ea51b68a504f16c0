package daemon

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size as people write it: "64MiB", "10GB", "512". Units with an i are powers of 1024, the others of 1000.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

type byteUnit struct {
	name string
	size Bytes
}

// byteUnits is ordered as [Bytes.String] tries them.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", TiB},
		{"TB", 1e12},
		{"GiB", GiB},
		{"GB", 1e9},
		{"MiB", MiB},
		{"MB", 1e6},
		{"KiB", KiB},
		{"KB", 1e3},
		{"B", 1},
	}
}

// ParseBytes reads a size. The number may have a fraction when the result is a whole number of bytes; case and a
// space before the unit do not matter.
func ParseBytes(s string) (Bytes, error) {
	text := strings.TrimSpace(s)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := text, "B"
	if end >= 0 {
		number, unit = text[:end], strings.TrimSpace(text[end:])
	}
	for _, u := range byteUnits() {
		if !strings.EqualFold(u.name, unit) {
			continue
		}
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			if n > math.MaxInt64/int64(u.size) {
				return 0, fmt.Errorf("size %q is too large", s)
			}
			return Bytes(n) * u.size, nil
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			break
		}
		if f *= float64(u.size); f != math.Trunc(f) || f >= math.MaxInt64 {
			return 0, fmt.Errorf("size %q is not a whole number of bytes that fits", s)
		}
		return Bytes(f), nil
	}
	return 0, fmt.Errorf("size %q is not a number with a unit such as 512, 64KiB, 10MB or 2GiB", s)
}

// String returns the shortest exact form, which [ParseBytes] reads back.
func (b Bytes) String() string {
	if b > 0 {
		for _, u := range byteUnits() {
			if u.size > 1 && b%u.size == 0 {
				return strconv.FormatInt(int64(b/u.size), 10) + u.name
			}
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText returns what [Bytes.String] returns.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what [ParseBytes] reads.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// Set makes a pointer to Bytes a command line flag value.
func (b *Bytes) Set(s string) error { return b.UnmarshalText([]byte(s)) }

// Type names the flag value in usage texts.
func (b *Bytes) Type() string { return "size" }
