package contract

import (
	"bytes"
	"encoding/binary"
)

// Limits of the containers that are remembered. Shorter ones are scanned as fast as they are found.
const (
	minSeen   = 48
	maxSeen   = 32 << 10
	seenSets  = 1024    // of two
	seenBytes = 4 << 20 // of all texts of a file
	giveUp    = 1024    // misses in a row
)

// A seenCache remembers JSON objects and arrays that were found to be valid. Events repeat long lists, such as those of all
// vendors, with the same indentation, and comparing bytes costs a fraction of scanning them. A container ends where its own
// text says, so the same bytes are the same container wherever they stand; only the depth is limited.
type seenCache struct {
	sets   [][2]seen // nil before the first container
	open   [MaxDepth]open
	bytes  int // capacity of all texts
	misses int // since the last hit
	tries  int
}

type seen struct {
	text  []byte
	depth int // at which it was found: at most as deep it is valid again; 0 if the entry is empty
}

// An open container is remembered when it ends.
type open struct {
	start int
	set   *[2]seen // nil if it will not be remembered
}

// begin returns the length of the container at pos if it is remembered, else 0. The depth is 1 or more.
func (c *seenCache) begin(b []byte, pos, depth int) int {
	c.open[depth].set = nil
	c.tries++
	// If nothing repeats, most containers are not looked for, so that values without repetition cost nothing.
	if len(b)-pos < minSeen || c.misses >= giveUp && c.tries%32 > 0 {
		return 0
	}
	set := c.set(b, pos)
	for i := range set {
		if s := &set[i]; depth <= s.depth && bytes.HasPrefix(b[pos:], s.text) {
			c.misses = 0
			return len(s.text)
		}
	}
	c.misses++
	c.open[depth] = open{pos, set}
	return 0
}

// end remembers the container that ends before pos, in place of the older one of its set.
func (c *seenCache) end(b []byte, pos, depth int) {
	o := &c.open[depth]
	if n := pos - o.start; o.set == nil || n < minSeen || n > maxSeen {
		return
	}
	text := b[o.start:pos]
	before := cap(o.set[1].text)
	if len(text) > before && c.bytes+len(text)-before > seenBytes {
		return
	}
	o.set[0], o.set[1] = o.set[1], o.set[0]
	o.set[0].text = append(o.set[0].text[:0], text...)
	o.set[0].depth = depth
	c.bytes += cap(o.set[0].text) - before
}

// forget forgets all containers.
func (c *seenCache) forget() {
	for i := range c.sets {
		c.sets[i][0].depth, c.sets[i][1].depth = 0, 0
	}
}

// set chooses the set for a container by the bytes around its beginning: its key, and the first of its content.
func (c *seenCache) set(b []byte, pos int) *[2]seen {
	if c.sets == nil {
		c.sets = make([][2]seen, seenSets)
	}
	const multiplier = 0x9E3779B97F4A7C15 // the golden ratio (Knuth, The Art of Computer Programming, 6.4)
	hash := uint64(0)
	for i := max(0, pos-16); i < pos+minSeen-16; i += 8 {
		hash = (hash ^ binary.LittleEndian.Uint64(b[i:])) * multiplier
		hash ^= hash >> 32
	}
	return &c.sets[hash%seenSets]
}
