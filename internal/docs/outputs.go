package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkOutputs finds blocks that are said to be a command's output and are not. The comment
//
//	<!-- output of: bin/consent generate --help -->
//
// stands on the line before such a block. Only commands that show help are run.
func (p *project) checkOutputs(ctx context.Context, page *page) (problems []problem) {
	for _, b := range page.blocks {
		command, ok := strings.CutPrefix(b.marker, "output of: ")
		if !ok {
			continue
		}
		output, err := p.helpOf(ctx, command)
		switch {
		case err != nil:
			problems = append(problems, problem{page.path, b.first, err.Error()})
		case output != page.text(b):
			problems = append(problems, problem{page.path, b.first,
				fmt.Sprintf("this is not what `%s` prints; `make generate` writes it anew", command)})
		}
	}
	return problems
}

// writeOutputs puts into each such block what its command prints.
func (p *project) writeOutputs(ctx context.Context) error {
	for i, page := range p.pages {
		var err error
		text := page.replaceBlocks(func(b block) (string, bool) {
			command, ok := strings.CutPrefix(b.marker, "output of: ")
			if !ok || err != nil {
				return "", false
			}
			var output string
			output, err = p.helpOf(ctx, command)
			return output, err == nil
		})
		if err != nil {
			return err
		}
		if text == strings.Join(page.lines, "\n")+"\n" {
			continue
		}
		if err := os.WriteFile(filepath.Join(p.root, page.path), []byte(text), 0o644); err != nil {
			return err
		}
		p.pages[i] = parse(page.path, text)
	}
	return nil
}

// replaceBlocks gives the page's text with other contents of some blocks.
func (p *page) replaceBlocks(with func(block) (content string, ok bool)) string {
	lines := slices.Clone(p.lines)
	for _, b := range slices.Backward(p.blocks) {
		content, ok := with(b)
		if !ok {
			continue
		}
		replacement := strings.Split(strings.TrimSuffix(content, "\n"), "\n")
		if !p.isFenced(b) {
			for i, line := range replacement {
				if line != "" {
					replacement[i] = "    " + line
				}
			}
		}
		lines = slices.Replace(lines, b.first, b.last+1, replacement...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// helpOf runs `make help` or the help of a command of the program.
func (p *project) helpOf(ctx context.Context, command string) (string, error) {
	words := strings.Fields(command)
	isHelp := command == "make help" || words[0] == "bin/consent" && slices.Contains(words, "--help")
	if !isHelp {
		return "", fmt.Errorf("`%s` is not run here; only `make help` and `bin/consent … --help` are", command)
	}
	if words[0] == "make" {
		words = slices.Insert(words, 1, "--no-print-directory")
	}
	return p.output(ctx, words[0], words[1:]...)
}
