package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// help is what make and the program say that they can do.
type help struct {
	targets       map[string]bool            // make targets
	makeVariables map[string]bool            // variables that the Makefile gives a default
	flags         map[string]map[string]bool // of each command of the program
}

var (
	makeTarget   = regexp.MustCompile(`(?m)^  make (\S+(?: \S+)*)  `)
	makeVariable = regexp.MustCompile(`(?m)^([A-Z_]+) *\??=`)
	subcommand   = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}`)
	flagInHelp   = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z][a-z-]*)`)
)

// askForHelp runs `make help` and the help of every command of the program.
func (p *project) askForHelp(ctx context.Context) error {
	p.help = help{targets: map[string]bool{"help": true}, makeVariables: map[string]bool{}, flags: map[string]map[string]bool{}}
	list, err := p.output(ctx, "make", "--no-print-directory", "help")
	if err != nil {
		return err
	}
	for _, match := range makeTarget.FindAllStringSubmatch(list, -1) {
		for _, target := range strings.Fields(match[1]) { // some have two names
			p.help.targets[target] = true
		}
	}
	makefile, err := os.ReadFile(filepath.Join(p.root, "Makefile"))
	if err != nil {
		return err
	}
	for _, match := range makeVariable.FindAllStringSubmatch(string(makefile), -1) {
		p.help.makeVariables[match[1]] = true
	}
	if _, err := os.Stat(filepath.Join(p.root, "bin/consent")); err != nil {
		return errNoProgram
	}
	commands, err := p.output(ctx, "bin/consent", "--help")
	if err != nil {
		return err
	}
	for _, match := range subcommand.FindAllStringSubmatch(commands, -1) {
		text, err := p.output(ctx, "bin/consent", match[1], "--help")
		if err != nil {
			return err
		}
		p.help.flags[match[1]] = flagsIn(text)
	}
	p.help.flags[""] = flagsIn(commands)
	return nil
}

func flagsIn(text string) map[string]bool {
	flags := map[string]bool{}
	for _, match := range flagInHelp.FindAllStringSubmatch(text, -1) {
		flags[match[1]], flags[match[2]] = true, true
	}
	return flags
}

// output runs a program of the project in its folder and gives what it prints, without settings of ours.
func (p *project) output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = p.root
	cmd.Env = environment()
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(text), nil
}

// environment is ours without the settings of the program, but for those in keep, and without those of make.
func environment(keep ...string) (variables []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		ours := strings.HasPrefix(name, "CONSENT_") || strings.HasPrefix(name, "MAKE")
		if !ours || slices.Contains(keep, name) {
			variables = append(variables, variable)
		}
	}
	return variables
}

var bareFlag = regexp.MustCompile(`^--[\w-]+$`)

// checkCommands finds make targets, commands and flags of the program, and variables that are not there.
func (p *project) checkCommands(page *page) (problems []problem) {
	var code []span
	for _, b := range page.blocks {
		if strings.HasPrefix(b.marker, "output of: ") || strings.HasPrefix(b.marker, "printed by: ") {
			continue // compared as a whole
		}
		code = append(code, joined(b.first+1, page.text(b))...)
	}
	for _, s := range page.spans() {
		code = append(code, s)
		name, _, _ := strings.Cut(s.text, "=")
		if bareFlag.MatchString(name) && !p.isFlag(name) {
			problems = append(problems, problem{page.path, s.line, fmt.Sprintf("%s is a flag of no command", name)})
		}
	}
	for _, s := range code {
		for _, command := range commands(s.text) {
			for _, text := range p.checkCommand(command) {
				problems = append(problems, problem{page.path, s.line, text})
			}
		}
		for _, name := range variable.FindAllString(s.text, -1) {
			if !p.isVariable(name) {
				problems = append(problems, problem{page.path, s.line, fmt.Sprintf("nothing reads %s", name)})
			}
		}
	}
	return problems
}

// joined gives the lines of a block; one that ends with a backslash goes on in the next.
func joined(first int, text string) (lines []span) {
	open := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		whole, continues := strings.CutSuffix(line, `\`)
		if open {
			lines[len(lines)-1].text += " " + strings.TrimSpace(whole)
		} else {
			lines = append(lines, span{first + i, whole})
		}
		open = continues
	}
	return lines
}

var (
	word       = regexp.MustCompile(`^(?:[^\s'"|&;()#<>]|'[^']*'|"[^"]*")+`)
	operator   = regexp.MustCompile(`^(?:\|\|?|&&?|;|[()]|[0-9]?[<>]+)`)
	assignment = regexp.MustCompile(`^[A-Za-z_]\w*=`)
)

// commands splits a line as a shell does, roughly: into commands, and these into words. A line that is none, such as
// what a command prints, gives words that are none of ours. What stands after `--` is a command of its own, for so
// kubectl exec has it.
func commands(line string) (all [][]string) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	var current []string
	end := func() {
		if len(current) > 0 {
			all = append(all, current)
		}
		current = nil
	}
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		if found := operator.FindString(line); found != "" {
			line = line[len(found):]
			end()
			continue
		}
		found := word.FindString(line)
		if found == "" { // a quote that is not closed: no command
			break
		}
		line = line[len(found):]
		switch {
		case found == "--":
			end()
		case len(current) == 0 && assignment.MatchString(found):
		default:
			current = append(current, strings.Trim(found, `'"`))
		}
	}
	end()
	return all
}

// checkCommand says what is wrong with a command, if it is one of ours.
func (p *project) checkCommand(words []string) (problems []string) {
	switch strings.TrimPrefix(strings.TrimPrefix(words[0], "./"), "bin/") {
	case "make":
		for _, word := range words[1:] {
			name, _, isVariable := strings.Cut(word, "=")
			switch {
			case placeholder.MatchString(word):
			case isVariable && !p.help.makeVariables[name]:
				problems = append(problems, fmt.Sprintf("the Makefile has no variable %s", name))
			case !isVariable && !strings.HasPrefix(word, "-") && !p.help.targets[word]:
				problems = append(problems, fmt.Sprintf("make has no target %s (make help)", word))
			}
		}
	case "consent":
		problems = p.checkConsent(words[1:])
	}
	return problems
}

// placeholder is a word for which the reader puts another, such as TARGET or ….
var placeholder = regexp.MustCompile(`^([A-Z]+…?|…|\[.*)$`)

func (p *project) checkConsent(words []string) (problems []string) {
	verb := ""
	if len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		verb = words[0]
	}
	if placeholder.MatchString(verb) {
		return nil
	}
	known, ok := p.help.flags[verb]
	if !ok {
		return []string{fmt.Sprintf("consent has no command %s (consent --help)", verb)}
	}
	for _, word := range words {
		name, _, _ := strings.Cut(strings.Trim(word, "[]"), "=")
		if strings.HasPrefix(name, "-") && !known[name] {
			problems = append(problems, fmt.Sprintf("consent %s has no flag %s (consent %[1]s --help)", verb, name))
		}
	}
	return problems
}

// Flags of other programs that the text names by themselves.
var otherFlags = []string{
	"--defer", "--empty", "--full-refresh", "--group-by", "--reset-then-reuse-values", "--set", "--take-ownership", "--vars",
}

func (p *project) isFlag(name string) bool {
	if slices.Contains(otherFlags, name) {
		return true
	}
	for _, flags := range p.help.flags {
		if flags[name] {
			return true
		}
	}
	return false
}

// Variables of the environment that are no flag's: the tests' and the cache's.
var variable = regexp.MustCompile(`\bCONSENT_[A-Z0-9_]*[A-Z0-9]\b`)

var otherVariables = []string{
	"CONSENT_CACHE_DIR", "CONSENT_E2E_KEEP", "CONSENT_REFERENCE_DATA", "CONSENT_TEST_POSTGRES", "CONSENT_TEST_REQUIRE", "CONSENT_TEST_SKIPS",
}

func (p *project) isVariable(name string) bool {
	flag := strings.TrimPrefix(name, "CONSENT_")
	return slices.Contains(otherVariables, name) || p.isFlag("--"+strings.ToLower(strings.ReplaceAll(flag, "_", "-")))
}
