package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"consentpipeline.io/internal/warehouse/embedded"
)

// numbers run the queries of the pages.
type numbers struct {
	input string // an export to run all of them on; empty for those that the pages name
	write bool   // whether the pages get the results
}

// printedRun is the marker of a block that holds what `make run` prints of the sample.
const printedRun = "printed by: make run"

func (o numbers) run(ctx context.Context, out io.Writer, root string) error {
	project, err := readProject(root)
	if err != nil {
		return err
	}
	real := os.Getenv("CONSENT_REFERENCE_DATA")
	if real != "" {
		real = filepath.Join(real, "input")
	}
	switch {
	case o.write && (o.input != "" || real == ""):
		return errors.New("-write needs CONSENT_REFERENCE_DATA, the folder of the real export, and no -input")
	case o.input != "":
		return o.answerOn(ctx, out, project, o.input, func(query) bool { return true })
	case real == "":
		fmt.Fprint(out, "CONSENT_REFERENCE_DATA names no real export: every query is run on input/, which is generated and says\n"+
			"nothing of real people. -input DIR takes an export of yours.\n\n")
		return o.answerOn(ctx, out, project, filepath.Join(root, "input"), func(query) bool { return true })
	}
	return errors.Join(
		o.answerOn(ctx, out, project, filepath.Join(root, "input"), func(q query) bool { return !q.real }),
		o.answerOn(ctx, out, project, real, func(q query) bool { return q.real }))
}

// answerOn loads an export into a database of its own and runs the chosen queries there.
func (o numbers) answerOn(ctx context.Context, out io.Writer, p *project, input string, chosen func(query) bool) (err error) {
	server, err := embedded.Start(ctx, embedded.Options{Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	fmt.Fprintf(out, "On %s:\n\n", input)
	printed, err := load(ctx, p.root, filepath.Join(p.root, "bin", "consent"), input, server.URL())
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, server.URL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	isSample := filepath.Clean(input) == filepath.Join(p.root, "input")
	for i, page := range p.pages {
		queries, _ := page.queries()
		results := map[int]string{} // by the first line of the block
		for _, q := range queries {
			if !chosen(q) {
				continue
			}
			result, err := answer(ctx, conn, q.sql)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", page.path, q.result.first, err)
			}
			fmt.Fprintf(out, "%s, line %d:\n\n%s\n%s\n", page.path, q.result.first, q.sql, result)
			results[q.result.first] = result
		}
		if !o.write {
			continue
		}
		text := page.replaceBlocks(func(b block) (string, bool) {
			if b.marker == printedRun && isSample {
				return printed, true
			}
			result, ok := results[b.first]
			return result, ok
		})
		if err := os.WriteFile(filepath.Join(p.root, page.path), []byte(text), 0o644); err != nil {
			return err
		}
		p.pages[i] = parse(page.path, text)
	}
	return nil
}

// load runs the whole pipeline and gives what it prints of its work, without the last lines, which say where the data
// is.
func load(ctx context.Context, root, program, input, database string) (string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return "", err
	}
	if input, err = filepath.Abs(input); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, "run", "--input", input, "--log-level", "warn")
	cmd.Dir = root
	// The database is not an argument, for it holds a password.
	cmd.Env = append(environment("CONSENT_CACHE_DIR", "CONSENT_DBT"), "CONSENT_DATABASE_URL="+database)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("load %s: %w\n%s%s", input, err, stdout.String(), stderr.String())
	}
	printed, _, ok := strings.Cut(stdout.String(), "\nThe data is in ")
	if !ok {
		return "", fmt.Errorf("`consent run` does not say where the data is:\n%s", stdout.String())
	}
	return printed, nil
}
