package label

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Limits of a table.
const (
	maxName    = 128
	maxValue   = 1024
	maxColumns = 32
	// maxFile bounds the size of a table in bytes.
	maxFile = 256 << 20
)

// ErrTable is wrapped by errors about the content of a table.
var ErrTable = errors.New("bad table")

// pair is a label.
type pair struct{ name, value string }

// table has labels by key. It is immutable. Rows share the texts of equal values.
type table map[string][]pair

// networks has labels by network. It is immutable.
type networks struct {
	byNet map[netip.Prefix][]pair
	// bits4 and bits6 are the lengths of prefixes that occur, the longest first.
	bits4, bits6 []int
}

// readTable reads a CSV table whose first column has the name key. An error names file and line.
func readTable(file string, data []byte, maxRows int) (table, error) {
	t := table{}
	err := readRows(file, data, "key", maxRows, func(key string, labels []pair) error {
		if _, dup := t[key]; dup {
			return fmt.Errorf("%q has a row already", key)
		}
		t[key] = labels
		return nil
	})
	return t, err
}

// readNetworks reads a CSV table whose first column has the name network.
func readNetworks(file string, data []byte, maxRows int) (*networks, error) {
	n := &networks{byNet: map[netip.Prefix][]pair{}}
	err := readRows(file, data, "network", maxRows, func(key string, labels []pair) error {
		p, err := parseNetwork(key)
		if err != nil {
			return err
		}
		if _, dup := n.byNet[p]; dup {
			return fmt.Errorf("%s has a row already", p)
		}
		n.byNet[p] = labels
		bits := &n.bits4
		if p.Addr().Is6() {
			bits = &n.bits6
		}
		if !slices.Contains(*bits, p.Bits()) {
			*bits = append(*bits, p.Bits())
		}
		return nil
	})
	for _, b := range [][]int{n.bits4, n.bits6} {
		slices.SortFunc(b, func(x, y int) int { return y - x })
	}
	return n, err
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no network: want an address and a prefix length, such as 10.0.0.0/8", s)
	}
	if p.Masked() != p {
		return p, fmt.Errorf("%s has bits set behind its prefix: did you mean %s?", s, p.Masked())
	}
	return p, nil
}

// find appends the labels of all networks that hold a; of labels of one name that of the longest prefix counts.
func (n *networks) find(a netip.Addr, out []pair) []pair {
	bits := n.bits4
	if a.Is6() {
		bits = n.bits6
	}
	for _, b := range bits {
		p, err := a.Prefix(b)
		if err != nil {
			continue
		}
		for _, l := range n.byNet[p] {
			if !slices.ContainsFunc(out, func(x pair) bool { return x.name == l.name }) {
				out = append(out, l)
			}
		}
	}
	return out
}

// readRows calls row for each line behind the first, which names the columns. Empty values are no labels.
func readRows(file string, data []byte, first string, maxRows int, row func(key string, labels []pair) error) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(data))
	r.ReuseRecord, r.Comment, r.TrimLeadingSpace = true, '#', true
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s:1: the table is empty: its first line names the columns, such as %s,team", ErrTable, file, first)
	}
	if err != nil {
		return csvError(file, err)
	}
	if head[0] != first || len(head) < 2 || len(head) > maxColumns {
		return fmt.Errorf("%w: %s:1: the first line names %d columns, the first one %q: want %s, then 1 to %d labels", ErrTable, file, len(head), head[0], first, maxColumns-1)
	}
	names := slices.Clone(head)
	for i, n := range names[1:] {
		if err := checkName(n); err != nil {
			return fmt.Errorf("%w: %s:1: column %d: %w", ErrTable, file, i+2, err)
		}
	}
	texts := map[string]string{}
	for rows := 1; ; rows++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(file, err)
		}
		line, _ := r.FieldPos(0)
		if rows > maxRows {
			return fmt.Errorf("%w: %s:%d: more than %d rows: raise enricher.labels.max_rows", ErrTable, file, line, maxRows)
		}
		labels := make([]pair, 0, len(rec)-1)
		for i, v := range rec[1:] {
			if len(v) > maxValue {
				return fmt.Errorf("%w: %s:%d: column %d has %d bytes, at most %d are possible", ErrTable, file, line, i+2, len(v), maxValue)
			}
			if v == "" {
				continue
			}
			text, ok := texts[v]
			if !ok {
				text = string([]byte(v))
				texts[text] = text
			}
			labels = append(labels, pair{names[i+1], text})
		}
		if err := row(string([]byte(rec[0])), labels); err != nil {
			return fmt.Errorf("%w: %s:%d: %w", ErrTable, file, line, err)
		}
	}
}

func csvError(file string, err error) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%w: %s:%d:%d: %w", ErrTable, file, p.Line, p.Column, p.Err)
	}
	return fmt.Errorf("%w: %s: %w", ErrTable, file, err)
}

// CheckTable checks a table for a lookup and returns the number of its rows.
func CheckTable(file string, data []byte) (int, error) {
	t, err := readTable(file, data, DefaultConfig().MaxRows)
	return len(t), err
}
