package ingest

import "hash/fnv"

// isInShard reports whether a path is in the shard of this process, which depends on the path alone: so each retry of a
// shard loads the same files, and each file is in one shard, whenever the shards list the source.
func (o Options) isInShard(path string) bool {
	return o.Shards <= 1 || shardOf(path, o.Shards) == o.Shard
}

// shardOf is the number of a path's shard: its FNV-1a hash, modulo the number of shards. The halves of the hash are combined
// first, because the lowest bits alone follow the last digits of numbered files: with two shards, all even numbers would be
// in one.
func shardOf(path string, shards int) int {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(path)) // never fails
	sum := hash.Sum64()
	return int((sum ^ sum>>32) % uint64(shards))
}
