package parquet

// shared is what the leaves of a reader share: the file, and buffers, as only one leaf decodes at a time.
type shared struct {
	in         *input // of the metadata
	whole      int    // bytes of a page, compressed or not, up to which it is decompressed whole
	dictionary int    // bytes of a compressed dictionary up to which it is read whole
	header     []byte // of a page, and what follows
	compressed []byte
	codecs     decompressor
	numbers    [batchValues]int64 // decoded lengths
	reserved   int                // bytes of all that the leaves keep to use again
}

// take reserves n more bytes of the budget.
func (s *shared) reserve(n int) error {
	if s.reserved += n; s.reserved > maxBuffers {
		return unsupported("export it again with fewer columns, smaller pages or smaller row groups",
			"the pages and dictionaries of its columns take more than %d MiB in memory", maxBuffers>>20)
	}
	return nil
}

// grow returns a leaf's buffer of at least n bytes, which is old if it is large enough. The content of old is lost.
func (s *shared) grow(old []byte, n int) ([]byte, error) {
	if cap(old) >= n {
		return old[:cap(old)], nil
	}
	if err := s.reserve(n - cap(old)); err != nil {
		return old, err
	}
	return make([]byte, n), nil
}
