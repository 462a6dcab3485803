package csv

import (
	"bytes"
	"encoding/binary"
)

// Limits of the runs of bytes that are remembered. Shorter ones are read as fast as they are found.
const (
	minSeen   = 64
	maxSeen   = 32 << 10
	seenSets  = 1024    // of two
	seenBytes = 8 << 20 // of all lists of a file, as in the file and as texts
	giveUp    = 1024    // misses in a row
)

// A seenCache remembers lists of JSON texts: what stands between two doubled quotes, from the colon before the list to its last
// text. Events repeat long lists, and comparing bytes costs a fraction of looking for their quotes. All quotes in it are
// doubled, so the same bytes stand for the same text wherever they follow a doubled quote.
type seenCache struct {
	sets   []seenSet // nil before the first list
	bytes  int       // capacity of all lists
	misses int       // since the last hit
	tries  int
}

type seenSet [2]seen

type seen struct {
	raw  []byte // as in the file
	text []byte // with single quotes
}

// An openList is remembered when it ends.
type openList struct {
	set    *seenSet // nil if it will not be remembered
	start  int      // in the buffer
	text   int      // in the scratch
	inText bool
}

// listAt continues a field in quotes behind a doubled quote. If a list begins here that is remembered, it is copied, and its
// end returned.
func (c *Reader) listAt(buf []byte, pos int, list *openList) int {
	if len(buf)-pos >= minSeen && buf[pos] == ':' && (buf[pos+1] == '[' || buf[pos+2] == '[') && buf[pos+3] != ']' {
		*list = openList{set: c.seen.set(buf, pos), start: pos, text: len(c.scratch)}
		if list.set == nil {
			return pos
		}
		if known := list.set.find(buf[pos:]); known != nil {
			c.seen.misses = 0
			c.scratch = append(c.scratch, known.text...)
			if pos += len(known.raw); pos < len(buf) && buf[pos] != ',' {
				list.set = nil // else the list here is longer
			}
			return pos
		}
		c.seen.misses++
		return pos
	}
	if list.set == nil || pos == len(buf) {
		return pos
	}
	if list.inText = !list.inText; !list.inText && buf[pos] != ',' {
		c.seen.add(list.set, buf[list.start:pos], c.scratch[list.text:])
		list.set = nil
	}
	return pos
}

// set chooses the set for a list by the bytes around its beginning: its key and its first texts. It returns nil for most lists if
// nothing repeats, so that values without repetition cost nothing.
func (c *seenCache) set(b []byte, pos int) *seenSet {
	c.tries++
	if c.misses >= giveUp && c.tries%32 > 0 {
		return nil
	}
	if c.sets == nil {
		c.sets = make([]seenSet, seenSets)
	}
	const multiplier = 0x9E3779B97F4A7C15 // the golden ratio (Knuth, The Art of Computer Programming, 6.4)
	hash := uint64(0)
	for i := max(0, pos-16); i < pos+minSeen-16; i += 8 {
		hash = (hash ^ binary.LittleEndian.Uint64(b[i:])) * multiplier
		hash ^= hash >> 32
	}
	return &c.sets[hash%seenSets]
}

// find returns the longest list of the set with which b begins.
func (set *seenSet) find(b []byte) (longest *seen) {
	for i := range set {
		s := &set[i]
		if len(s.raw) > 0 && (longest == nil || len(s.raw) > len(longest.raw)) && bytes.HasPrefix(b, s.raw) {
			longest = s
		}
	}
	return longest
}

// add remembers a list in place of the older one of its set.
func (c *seenCache) add(set *seenSet, raw, text []byte) {
	before := cap(set[1].raw) + cap(set[1].text)
	need := max(len(raw)-cap(set[1].raw), 0) + max(len(text)-cap(set[1].text), 0)
	if len(raw) < minSeen || len(raw) > maxSeen || need > 0 && c.bytes+need > seenBytes {
		return
	}
	set[0], set[1] = set[1], set[0]
	set[0].raw = append(set[0].raw[:0], raw...)
	set[0].text = append(set[0].text[:0], text...)
	c.bytes += cap(set[0].raw) + cap(set[0].text) - before
}
