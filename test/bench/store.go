package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"consentpipeline.io/internal/sample"
)

// store compares loading from a bucket with loading the same files from a folder: two large files, and many small ones that
// are new, then unchanged. The store is that of AWS_ENDPOINT_URL_S3.
func (b *bench) store(ctx context.Context, bucket string, rows int64) error {
	if bucket == "" || rows == 0 {
		return nil
	}
	fmt.Println("\n| from a store | rows | MB | folder s | store s | × | MiB | requests | bytes fetched per byte |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, format := range []sample.Format{sample.FormatCSV, sample.FormatParquet} {
		dir, err := b.generate(ctx, sample.Options{Events: rows, Companies: 1, Parameters: sample.ParametersExported, Format: format})
		if err != nil {
			return err
		}
		if err := b.fromStore(ctx, bucket, dir, fmt.Sprintf("%s as exported", format), rows, b.runs); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	const files = 10_000
	dir, err := b.generate(ctx, sample.Options{Events: 1, Companies: files, Parameters: sample.ParametersEmpty, Format: sample.FormatCSV})
	if err != nil {
		return err
	}
	if err := b.fromStore(ctx, bucket, dir, "10,000 files", files, 1); err != nil {
		return err
	}
	for name, place := range map[string]string{"folder": dir, "store": "s3://" + bucket + "/" + filepath.Base(dir)} {
		if _, err := b.ingest(ctx, place); err != nil {
			return err
		}
		c, t, err := b.requested(place)
		if err != nil {
			return err
		}
		fmt.Printf("\nThe 10,000 files again, unchanged, from the %s: %.1f s, %.1f CPU s, %d requests, %d bytes.\n", name,
			c.wall.Seconds(), c.cpu.Seconds(), t.Requests, t.Bytes)
	}
	return nil
}

// fromStore uploads a folder and compares loading it from both places.
func (b *bench) fromStore(ctx context.Context, bucket, dir, name string, rows int64, runs int) error {
	place := "s3://" + bucket + "/" + filepath.Base(dir)
	size, err := upload(ctx, bucket, dir)
	if err != nil {
		return err
	}
	var folder, store []cost
	var t traffic
	for range runs {
		c, err := b.ingest(ctx, dir, "--concurrency", "1")
		if err != nil {
			return err
		}
		folder = append(folder, c)
		if err := b.empty(ctx); err != nil {
			return err
		}
		if c, t, err = b.requested(place, "--concurrency", "1"); err != nil {
			return err
		}
		store = append(store, c)
	}
	f, s := median(folder), median(store)
	fmt.Printf("| %s | %d | %d | %.1f | %.1f | %.2f | %d | %d | %.3f |\n", name, rows, size/1e6, f.wall.Seconds(), s.wall.Seconds(),
		s.wall.Seconds()/f.wall.Seconds(), s.mebibytes, t.Requests, float64(t.Bytes)/float64(size))
	return nil
}

// A traffic is what an ingestion logged that it requested.
type traffic struct {
	Requests, Bytes int64
}

// requested measures an ingestion and reads its log.
func (b *bench) requested(place string, args ...string) (c cost, t traffic, err error) {
	cmd := b.command(append([]string{"ingest", "--source", place, "--log-format", "json"}, args...)...)
	cmd.Args[len(cmd.Args)-1] = "info" // the log level
	var log bytes.Buffer
	cmd.Stderr = &log
	if c, err = measure(cmd); err != nil {
		return c, t, fmt.Errorf("%w: %s", err, log.String())
	}
	for line := range bytes.Lines(log.Bytes()) {
		if bytes.Contains(line, []byte("requested from the source")) {
			err = json.Unmarshal(line, &t)
		}
	}
	return c, t, err
}

// upload uploads a folder's files under its name, and returns their size.
func upload(ctx context.Context, bucket, dir string) (size int64, err error) {
	endpoint, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL_S3"))
	if err != nil || endpoint.Host == "" {
		return 0, errors.New("no store: set AWS_ENDPOINT_URL_S3 and its credentials")
	}
	client, err := minio.New(endpoint.Host, &minio.Options{Creds: credentials.NewEnvAWS(), Secure: endpoint.Scheme == "https", Region: "us-east-1"})
	if err != nil {
		return 0, err
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := client.FPutObject(ctx, bucket, filepath.ToSlash(filepath.Join(filepath.Base(dir), relative)), path, minio.PutObjectOptions{})
		size += info.Size
		return err
	})
	return size, err
}
