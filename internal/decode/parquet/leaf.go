package parquet

import (
	"github.com/parquet-go/parquet-go/format"

	"consentpipeline.io/internal/contract"
)

// A leaf decodes the values of one column with a physical type, a batch at a time.
type leaf struct {
	leafType
	*batch
	text  []byte // text of the batch that the converters made
	reps  [batchValues]uint32
	defs  [batchValues]uint32 // of the batch's values, then those decoded but not in the batch yet
	ahead int                 // levels decoded, of which the batch has the first count

	shared     *shared
	in         *input // of the chunk
	dictionary dictionary
	page       page
	decoders   decoders

	// The row group's chunk: where the next page begins, where the last ends, values not decoded yet.
	next, end int64
	left      int64
	codec     format.CompressionCodec
	header    int // bytes that were read for the last page's header
}

// A batch has count decoded values; those before at have been returned. The batches of a reader are adjacent in memory: in
// the leaves, some of which are a multiple of 4 KiB apart, they would compete for the same cache lines.
type batch struct {
	values    []contract.Field
	at, count int
}

// A leafType is the schema of a leaf.
type leafType struct {
	path           []string
	name           string // the path with dots
	physical       format.Type
	width          int // bytes of a value; -1 if each says its own, 0 if it is a bit
	maxRep, maxDef int
	convert        converter // nil if values are text as they are
}

// open starts to read a chunk.
func (l *leaf) open(c chunk) {
	l.next, l.end, l.left, l.codec = c.start, c.end, c.values, c.codec
	l.at, l.count, l.ahead = 0, 0, 0
	l.page.left = 0
	l.dictionary.count = -1
}

// levelsAt returns the levels of the batch's value i.
func (l *leaf) levelsAt(i int) levels {
	v := levels{0, l.maxDef}
	if l.maxRep > 0 {
		v.rep = int(l.reps[i])
	}
	if l.maxDef > 0 {
		v.def = int(l.defs[i])
	}
	return v
}

// fill decodes the next batch: at least one value, all of one page.
func (l *leaf) fill() error {
	for l.page.left == 0 {
		if l.left == 0 {
			return damaged("it has fewer values than the row group has rows")
		}
		if err := l.nextPage(); err != nil {
			return err
		}
	}
	if err := l.decodeLevels(); err != nil {
		return err
	}
	l.at, l.text = 0, l.text[:0]
	n, err := l.decodeBatch(l.values[:l.ahead])
	if err != nil {
		return damagedBy("decoding its values", err)
	}
	l.count = n
	l.page.left -= n
	l.left -= int64(n)
	if l.page.left == 0 {
		return l.finishPage()
	}
	return nil
}

// decodeLevels decodes the levels of the next values, after those that the last batch left over.
func (l *leaf) decodeLevels() error {
	kept := 0
	if l.ahead > l.count {
		copy(l.reps[:], l.reps[l.count:l.ahead])
		kept = copy(l.defs[:], l.defs[l.count:l.ahead])
	}
	l.ahead = min(batchValues, l.page.left)
	if l.maxRep > 0 {
		fresh := l.reps[kept:l.ahead]
		if err := l.page.rep.decode(fresh); err != nil {
			return damagedBy("decoding its repetition levels", err)
		}
		for _, r := range fresh {
			if int(r) > l.maxRep {
				return damaged("a repetition level is %d of %d", r, l.maxRep)
			}
			if r == 0 {
				l.page.rowsSeen++
			}
		}
	}
	if l.maxDef > 0 {
		fresh := l.defs[kept:l.ahead]
		if err := l.page.def.decode(fresh); err != nil {
			return damagedBy("decoding its definition levels", err)
		}
		for _, d := range fresh {
			if int(d) > l.maxDef {
				return damaged("a definition level is %d of %d", d, l.maxDef)
			}
		}
	}
	return nil
}

// decodeBatch decodes values into as much of dst as it can without invalidating text that dst points to.
func (l *leaf) decodeBatch(dst []contract.Field) (int, error) {
	if l.maxDef == 0 {
		return l.decodeValues(dst, true)
	}
	there, fresh := uint32(l.maxDef), true
	for i := 0; i < len(dst); {
		run := i
		for run < len(dst) && l.defs[run] == there {
			run++
		}
		if run == i {
			dst[i] = contract.Field{}
			l.page.nullsSeen++
			i++
			continue
		}
		n, err := l.decodeValues(dst[i:run], fresh)
		if err != nil {
			return 0, err
		}
		fresh = false
		i += n
		if i < run {
			return i, nil
		}
	}
	return len(dst), nil
}
