package sample

import (
	"math"
	"math/rand/v2"
)

// A random is a stream of random numbers. Each company has its own, so that a company's events depend neither on the
// number of companies nor on the order in which they are generated.
type random struct {
	*rand.Rand
}

// newRandom makes the stream of one purpose. The constant (the golden ratio's fraction in 64 bits) separates the seeds of
// neighbouring streams.
func newRandom(seed, stream uint64) *random {
	return &random{rand.New(rand.NewPCG(seed, stream*0x9e3779b97f4a7c15))}
}

func (r *random) chance(p float64) bool { return r.Float64() < p }

// between draws a whole number from low to high, both included.
func (r *random) between(low, high int64) int64 { return low + r.Int64N(high-low+1) }

// poisson draws from a Poisson distribution with a small mean (Knuth's method), given e to the minus mean.
func (r *random) poisson(expMinusMean float64) int {
	n := 0
	for p := r.Float64(); p > expMinusMean; p *= r.Float64() {
		n++
	}
	return n
}

// uuid draws a UUID of version 4.
func (r *random) uuid() (id [16]byte) {
	high, low := r.Uint64(), r.Uint64()
	for i := range 8 {
		id[i] = byte(high >> (8 * i))
		id[8+i] = byte(low >> (8 * i))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// word draws a word of n letters and digits, without those that are easily confused.
func (r *random) word(n int) string {
	const letters = "abcdefghijkmnpqrtwxyzABCDEFGHJKLMNPQRTUVWXYZ2346789"
	word := make([]byte, n)
	for i := range word {
		word[i] = letters[r.IntN(len(letters))]
	}
	return string(word)
}

// A weighted holds values with the chance of each.
type weighted[T any] struct {
	values []T
	ends   []float64 // sums of the weights; the last one is the sum of all
}

func (w *weighted[T]) add(value T, weight float64) {
	end := float64(weight) // an explicit conversion prevents fused multiply-add, which differs between processors
	if n := len(w.ends); n > 0 {
		end += w.ends[n-1]
	}
	w.values = append(w.values, value)
	w.ends = append(w.ends, end)
}

func (w *weighted[T]) draw(r *random) T {
	at := r.Float64() * w.ends[len(w.ends)-1]
	i := 0
	for i < len(w.ends)-1 && at >= w.ends[i] {
		i++
	}
	return w.values[i]
}

// A quantiles is a distribution of whole numbers, as its quantiles at equal steps. They are computed once and drawn
// from with whole numbers only, so that the last bits of floating-point functions, which differ between processors,
// do not reach the files.
type quantiles [1024]int64

func (q *quantiles) draw(r *random) int64 {
	i := r.IntN(len(q) - 1)
	return r.between(q[i], q[i+1])
}

func newQuantiles(quantile func(p float64) float64) *quantiles {
	q := &quantiles{}
	for i := range q {
		q[i] = int64(math.Round(quantile((float64(i) + 0.5) / float64(len(q)))))
	}
	return q
}

// lognormal is the distribution of durations: many short ones, a few very long ones.
func lognormal(median, sigma float64) *quantiles {
	return newQuantiles(func(p float64) float64 {
		return median * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*p-1))
	})
}

// exponential is the distribution of gaps between visits that come independently of each other.
func exponential(mean float64) *quantiles {
	return newQuantiles(func(p float64) float64 { return -mean * math.Log1p(-p) })
}
