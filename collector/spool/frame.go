package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A segment file is a header and frames, all numbers little endian:
//
//	header  "GYRESPL" version:1 number:8 created:8 (nanoseconds since 1970) crc:4 (of the 24 bytes before)
//	frame   marker:4 length:4 crc:4 body (crc of length and body, begun with the header's crc)
//	body    first:8 events:4 lost:8 id length:2 id data
//
// Checksums are CRC-32C. The marker is what a reader looks for after damage. What it finds then may be a piece of an older
// file in a block that was used again, or have been put into the data by whoever is being watched: the checksum of the
// header, with the nanosecond in it, is different for each file and known to neither.
const (
	segmentMagic   = "GYRESPL"
	segmentVersion = 1
	headerSize     = 28
	frameHeader    = 12
	bodyFixed      = 22
	maxBody        = 16 << 20
	marker         = 0xb5e1c0f7
)

// Errors of a segment's bytes.
var (
	errHeader = errors.New("not a spool segment")
	errFrame  = errors.New("damaged record")
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendHeader(b []byte, number uint64, created time.Time) []byte {
	from := len(b)
	b = append(append(b, segmentMagic...), segmentVersion)
	b = binary.LittleEndian.AppendUint64(b, number)
	b = binary.LittleEndian.AppendUint64(b, uint64(created.UnixNano()))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli()))
}

// headerSum returns a header's checksum, with which those of its frames begin.
func headerSum(b []byte) uint32 { return binary.LittleEndian.Uint32(b[headerSize-4:]) }

// parseHeader returns a segment's number and when it was made.
func parseHeader(b []byte) (number uint64, created time.Time, err error) {
	switch {
	case len(b) < headerSize:
		return 0, time.Time{}, fmt.Errorf("%w: the file has %d bytes, the header %d", errHeader, len(b), headerSize)
	case string(b[:7]) != segmentMagic:
		return 0, time.Time{}, fmt.Errorf("%w: it begins with %q", errHeader, b[:7])
	case crc32.Checksum(b[:headerSize-4], castagnoli()) != headerSum(b):
		return 0, time.Time{}, fmt.Errorf("%w: the checksum of the header is wrong", errHeader)
	case b[7] != segmentVersion:
		return 0, time.Time{}, fmt.Errorf("%w of version %d, but of version %d", errHeader, segmentVersion, b[7])
	}
	return binary.LittleEndian.Uint64(b[8:]), time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:]))), nil
}

// frameSize is how many bytes an item takes in a segment.
func frameSize(it *Item) int { return frameHeader + bodyFixed + len(it.ID) + len(it.Data) }

// appendFrame appends an item's frame to b, for the segment with this checksum of its header.
func appendFrame(b []byte, it *Item, seed uint32) []byte {
	from := len(b)
	b = binary.LittleEndian.AppendUint32(b, marker)
	b = binary.LittleEndian.AppendUint32(b, uint32(frameSize(it)-frameHeader))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, it.First)
	b = binary.LittleEndian.AppendUint32(b, uint32(it.Events))
	b = binary.LittleEndian.AppendUint64(b, it.Lost)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(it.ID)))
	b = append(append(b, it.ID...), it.Data...)
	binary.LittleEndian.PutUint32(b[from+8:], frameSum(b[from:], seed))
	return b
}

func frameSum(b []byte, seed uint32) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli(), b[4:8]), castagnoli(), b[frameHeader:])
}

// bodyLength returns the length that a frame's header tells, or false if there is no header.
func bodyLength(b []byte) (int, bool) {
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != marker {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	return int(n), n >= bodyFixed && n <= maxBody
}

// parseFrame reads the frame at the start of b. The item's data is part of b. It returns how many bytes the frame has.
func parseFrame(b []byte, seed uint32) (Item, int, error) {
	n, ok := bodyLength(b)
	if !ok || len(b)-frameHeader < n {
		return Item{}, 0, errFrame
	}
	b = b[:frameHeader+n]
	if frameSum(b, seed) != binary.LittleEndian.Uint32(b[8:]) {
		return Item{}, 0, errFrame
	}
	body := b[frameHeader:]
	id := int(binary.LittleEndian.Uint16(body[20:]))
	if bodyFixed+id > len(body) {
		return Item{}, 0, errFrame
	}
	return Item{
		First: binary.LittleEndian.Uint64(body), Events: int(binary.LittleEndian.Uint32(body[8:])), Lost: binary.LittleEndian.Uint64(body[12:]),
		ID: string(body[bodyFixed : bodyFixed+id]), Data: body[bodyFixed+id:],
	}, len(b), nil
}

// damage is what [scan] found wrong.
type damage struct {
	// size is where the readable part of the segment ends.
	size int
	// torn: the file ends in the middle of its last frame, as after a crash.
	torn bool
	// corrupt is how many stretches of bytes within the file cannot be read.
	corrupt int
}

// scan calls fn for all frames that can be read in a whole segment, whose header is known to be good.
func scan(b []byte, fn func(it Item, off, size int)) damage {
	d := damage{size: headerSize}
	seed := headerSum(b)
	for off := headerSize; off < len(b); {
		it, n, err := parseFrame(b[off:], seed)
		if err == nil {
			fn(it, off, n)
			off += n
			d.size = off
			continue
		}
		next := nextFrame(b, off+1, seed)
		if next < 0 {
			if cut(b[off:]) {
				d.torn = true
			} else {
				d.corrupt++
			}
			return d
		}
		d.corrupt++
		off = next
	}
	return d
}

// nextFrame returns the offset of the first good frame at from or behind it, or -1.
func nextFrame(b []byte, from int, seed uint32) int {
	var m [4]byte
	binary.LittleEndian.PutUint32(m[:], marker)
	for from < len(b) {
		i := bytes.Index(b[from:], m[:])
		if i < 0 {
			return -1
		}
		if _, _, err := parseFrame(b[from+i:], seed); err == nil {
			return from + i
		}
		from += i + 1
	}
	return -1
}

// cut tells whether b is what a crash leaves of a last frame: a part of it, all of it with blocks that were not written,
// or zeros where its blocks would be.
func cut(b []byte) bool {
	if len(bytes.TrimLeft(b, "\x00")) == 0 {
		return true
	}
	if len(b) < frameHeader {
		var m [4]byte
		binary.LittleEndian.PutUint32(m[:], marker)
		n := min(4, len(b))
		return bytes.Equal(b[:n], m[:n])
	}
	n, ok := bodyLength(b)
	return ok && frameHeader+n >= len(b)
}
