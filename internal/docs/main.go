// Command docs holds the documentation to the project. `docs check` finds links, paths, make targets, flags and
// variables that are not there, and blocks that are no longer what a command prints; `docs numbers` runs the queries
// of SOLUTION.md. It reads Markdown as this project writes it, and knows nothing of the pipeline but its command line.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

const usage = `usage: docs check [-write]       check the pages below the current folder
       docs numbers [-input DIR] [-write]   run the queries of SOLUTION.md and print what they give
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	write := flags.Bool("write", false, "write what commands and queries print now into the pages")
	switch args[0] {
	case "check":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return check(ctx, out, ".", *write)
	case "numbers":
		var o numbers
		flags.StringVar(&o.input, "input", "", "`folder` of an export to run all queries on, instead of the two of SOLUTION.md")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		o.write = *write
		return o.run(ctx, out, ".")
	}
	return errors.New(usage)
}

// check reads all pages and says what is wrong with them, a line each.
func check(ctx context.Context, out io.Writer, root string, write bool) error {
	project, err := readProject(root)
	if err != nil {
		return err
	}
	if err := project.askForHelp(ctx); err != nil {
		return err
	}
	if write {
		if err := project.writeOutputs(ctx); err != nil {
			return err
		}
	}
	var problems []problem
	for _, page := range project.pages {
		problems = append(problems, project.checkLinks(page)...)
		problems = append(problems, project.checkCommands(page)...)
		problems = append(problems, project.checkOutputs(ctx, page)...)
		problems = append(problems, page.checkNumbers()...)
	}
	problems = append(problems, project.checkReachable()...)
	slices.SortStableFunc(problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(a.line, b.line))
	})
	for _, p := range problems {
		fmt.Fprintln(out, p)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d things in the documentation are not as the project is", len(problems))
	}
	return nil
}

// A problem is what is wrong at a line of a page.
type problem struct {
	page string
	line int
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s:%d: %s", p.page, p.line, p.text) }
