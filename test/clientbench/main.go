package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"consentpipeline.io/internal/contract"
	"consentpipeline.io/internal/decode"
	"consentpipeline.io/internal/source"
	"consentpipeline.io/internal/warehouse"
)

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func main() {
	ctx := context.Background()
	var buffer []byte
	before := cpu()
	n := 0
	dir := os.Args[1]
	files, _ := filepath.Glob(filepath.Join(dir, "events/*/*"))
	folder, err := source.OpenFolder(dir)
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		rel, _ := filepath.Rel(dir, f)
		file, err := decode.Open(ctx, folder, source.Entry{Path: rel})
		if err != nil {
			panic(err)
		}
		records, finish, err := file.Records(ctx)
		if err != nil {
			panic(err)
		}
		judge, err := contract.NewJudge(contract.Event, records.Columns(), contract.Evolve)
		if err != nil {
			panic(err)
		}
		e := warehouse.NewEncoder(contract.Event, 1)
		for {
			r, err := records.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				panic(err)
			}
			if values, ok := judge.Row(r.Fields); ok {
				n++
				if buffer = e.Row(buffer, r.Number, values); len(buffer) > 1<<18 {
					buffer = buffer[:0]
				}
			}
		}
		if _, err := finish(); err != nil {
			panic(err)
		}
		file.Close()
	}
	d := cpu() - before
	fmt.Printf("%d %.4f\n", n, d.Seconds())
}
