// Command docs checks the Markdown pages below the current folder. It finds links, paths, make targets, commands, flags
// and variables that do not exist, and numbers that are in no result of a page's queries. It runs `make help` and
// `bin/consent --help`.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	help, err := readHelp(ctx, ".")
	if err == nil {
		err = check(os.Stdout, ".", help)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs: "+err.Error())
		os.Exit(1)
	}
}

// check writes one line for each problem of the pages below root.
func check(out io.Writer, root string, help help) error {
	project, err := readProject(root)
	if err != nil {
		return err
	}
	project.help = help
	problems := project.checkReachable()
	for _, page := range project.pages {
		problems = append(problems, project.checkLinks(page)...)
		problems = append(problems, project.checkCommands(page)...)
		problems = append(problems, page.checkNumbers()...)
	}
	slices.SortStableFunc(problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.page, b.page), cmp.Compare(a.line, b.line))
	})
	for _, p := range problems {
		fmt.Fprintf(out, "%s:%d: %s\n", p.page, p.line, p.text)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems in the pages (listed above)", len(problems))
	}
	return nil
}

// A problem is at a line of a page, counted from 1.
type problem struct {
	page string
	line int
	text string
}
