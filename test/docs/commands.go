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

// help is what `make help` and the help of the program list.
type help struct {
	targets       map[string]bool            // make targets
	makeVariables map[string]bool            // variables with a default in the Makefile
	flags         map[string]map[string]bool // of each command of the program, such as "pipelines list"
}

var (
	makeTarget   = regexp.MustCompile(`(?m)^  make (\S+(?: \S+)*)  `)
	makeVariable = regexp.MustCompile(`(?m)^([A-Z_]+) *\??=`)
	subcommand   = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}`)
	flagInHelp   = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z][a-z-]*)`)
)

// readHelp runs `make help` and the help of every command of the program.
func readHelp(ctx context.Context, root string) (help, error) {
	h := help{targets: map[string]bool{"help": true}, makeVariables: map[string]bool{}, flags: map[string]map[string]bool{}}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return h, err
	}
	list, err := output(ctx, root, "make", "--no-print-directory", "help")
	if err != nil {
		return h, err
	}
	for _, match := range makeVariable.FindAllStringSubmatch(string(makefile), -1) {
		h.makeVariables[match[1]] = true
	}
	for _, match := range makeTarget.FindAllStringSubmatch(list, -1) {
		for target := range strings.FieldsSeq(match[1]) { // some have two names
			h.targets[target] = true
		}
	}
	commands, err := output(ctx, root, "bin/consent", "--help")
	if err != nil {
		return h, err
	}
	h.flags[""] = flagsIn(commands)
	for _, match := range subcommand.FindAllStringSubmatch(commands, -1) {
		text, err := output(ctx, root, "bin/consent", match[1], "--help")
		if err != nil {
			return h, err
		}
		h.flags[match[1]] = flagsIn(text)
		for _, nested := range subcommand.FindAllStringSubmatch(text, -1) {
			text, err := output(ctx, root, "bin/consent", match[1], nested[1], "--help")
			if err != nil {
				return h, err
			}
			h.flags[match[1]+" "+nested[1]] = flagsIn(text)
		}
	}
	return h, nil
}

// hasNested reports whether a command has commands of its own.
func (h help) hasNested(verb string) bool {
	for name := range h.flags {
		if strings.HasPrefix(name, verb+" ") {
			return true
		}
	}
	return false
}

func flagsIn(text string) map[string]bool {
	flags := map[string]bool{}
	for _, match := range flagInHelp.FindAllStringSubmatch(text, -1) {
		flags[match[1]], flags[match[2]] = true, true
	}
	return flags
}

// output runs a program of the project in its folder and returns what it prints.
func output(ctx context.Context, root, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root
	cmd.Env = environment()
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(text), nil
}

// environment is this process's environment without variables of make and of the program, except those in keep.
func environment(keep ...string) []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(keep, name) && (strings.HasPrefix(name, "CONSENT_") || strings.HasPrefix(name, "MAKE"))
	})
}

var bareFlag = regexp.MustCompile(`^--[a-z][\w-]*$`)

// checkCommands finds make targets, commands and flags of the program, and variables that do not exist.
func (p *project) checkCommands(page *page) (problems []problem) {
	report := func(line int, format string, args ...any) {
		problems = append(problems, problem{page.path, line, fmt.Sprintf(format, args...)})
	}
	code := slices.Clone(page.code)
	for _, b := range page.blocks {
		if b.marker != printedRun { // which a test compares as a whole
			code = append(code, b.commandLines()...)
		}
	}
	for _, s := range code {
		if name, _, _ := strings.Cut(s.text, "="); bareFlag.MatchString(name) && !p.help.hasFlag(name) {
			report(s.line, "%s is a flag of no command", name)
		}
		for _, command := range splitCommands(s.text) {
			for _, text := range p.help.checkCommand(command) {
				report(s.line, "%s", text)
			}
		}
		for _, name := range variable.FindAllString(s.text, -1) {
			if !p.help.hasVariable(name) {
				report(s.line, "nothing reads %s", name)
			}
		}
	}
	return problems
}

// commandLines returns the lines of a block. A line that ends with a backslash continues in the next.
func (b block) commandLines() (lines []span) {
	continues := false
	for i, text := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		whole, open := strings.CutSuffix(text, `\`)
		if continues {
			lines[len(lines)-1].text += " " + strings.TrimSpace(whole)
		} else {
			lines = append(lines, span{b.line + i, whole})
		}
		continues = open
	}
	return lines
}

var (
	shellToken = regexp.MustCompile(`^(?:(\|\|?|&&?|;|[()]|[0-9]?[<>]+)|(?:[^\s'"|&;()#<>]|'[^']*'|"[^"]*")+)`)
	assignment = regexp.MustCompile(`^[A-Za-z_]\w*=`)
)

// splitCommands splits a line into commands and words, roughly as a shell does. A line of a command's output yields words
// that are not a known command. What follows `--` is a command of its own, as in kubectl exec.
func splitCommands(line string) [][]string {
	commands := [][]string{nil}
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		match := shellToken.FindStringSubmatch(line)
		if match == nil { // a quote that is not closed: no command
			break
		}
		line = line[len(match[0]):]
		last := &commands[len(commands)-1]
		switch {
		case match[1] != "" || match[0] == "--":
			commands = append(commands, nil)
		case len(*last) > 0 || !assignment.MatchString(match[0]):
			*last = append(*last, strings.Trim(match[0], `'"`))
		}
	}
	return slices.DeleteFunc(commands, func(words []string) bool { return len(words) == 0 })
}

// placeholder is a word that the reader replaces, such as TARGET or ….
var placeholder = regexp.MustCompile(`^([A-Z]+…?|…|\[.*)$`)

// checkCommand returns the problems of a command of make, of the program, or of the program as a plugin of kubectl.
func (h help) checkCommand(words []string) (problems []string) {
	if len(words) > 1 && words[0] == "kubectl" && words[1] == "consent" {
		words = append([]string{"consent", "pipelines"}, words[2:]...)
	}
	switch strings.TrimPrefix(strings.TrimPrefix(words[0], "./"), "bin/") {
	case "make":
		for _, word := range words[1:] {
			name, _, isVariable := strings.Cut(word, "=")
			switch {
			case placeholder.MatchString(word):
			case isVariable && !h.makeVariables[name]:
				problems = append(problems, fmt.Sprintf("the Makefile has no variable %s", name))
			case !isVariable && !strings.HasPrefix(word, "-") && !h.targets[word]:
				problems = append(problems, fmt.Sprintf("make has no target %s (make help)", word))
			}
		}
	case "consent":
		verb := ""
		if len(words) > 1 && !strings.HasPrefix(words[1], "-") {
			verb = words[1]
		}
		if verb != "" && h.hasNested(verb) && len(words) > 2 && !strings.HasPrefix(words[2], "-") && !placeholder.MatchString(words[2]) {
			verb += " " + words[2]
		}
		flags, ok := h.flags[verb]
		switch {
		case placeholder.MatchString(verb):
			return nil
		case !ok:
			return []string{fmt.Sprintf("consent has no command %s (consent --help)", verb)}
		}
		for _, word := range words[1:] {
			name, _, _ := strings.Cut(strings.Trim(word, "[]"), "=")
			if strings.HasPrefix(name, "-") && !flags[name] {
				problems = append(problems, fmt.Sprintf("consent %s has no flag %s (consent %[1]s --help)", verb, name))
			}
		}
	}
	return problems
}

// Flags of other programs that the pages name without a command.
var otherFlags = []string{
	"--defer", "--empty", "--full-refresh", "--group-by", "--reset-then-reuse-values", "--set", "--take-ownership", "--vars",
}

func (h help) hasFlag(name string) bool {
	for _, flags := range h.flags {
		if flags[name] {
			return true
		}
	}
	return slices.Contains(otherFlags, name)
}

var variable = regexp.MustCompile(`\bCONSENT_[A-Z0-9_]*[A-Z0-9]\b`)

// Variables of the environment that have no flag: those of the tests and of the cache.
var otherVariables = []string{
	"CONSENT_CACHE_DIR", "CONSENT_E2E_KEEP", "CONSENT_REFERENCE_DATA", "CONSENT_TEST_CITUS_URL", "CONSENT_TEST_POSTGRES", "CONSENT_TEST_REQUIRE", "CONSENT_TEST_SKIPS",
}

func (h help) hasVariable(name string) bool {
	flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "CONSENT_"), "_", "-"))
	return slices.Contains(otherVariables, name) || h.hasFlag("--"+flag)
}
