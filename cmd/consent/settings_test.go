package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// value finds a setting's value, and where it is from, in what `consent config -o json` prints.
func value(t *testing.T, o outcome, command, name string) string {
	t.Helper()
	for _, s := range decode[[]setting](t, o) {
		if s.Command == command && s.Name == name {
			return s.Value + " from " + s.From
		}
	}
	t.Fatalf("no setting %s of %s", name, command)
	return ""
}

// TestNullSetting checks that the texts that stand for null are read as they are written, from each place.
func TestNullSetting(t *testing.T) {
	for name, c := range map[string]struct{ file, env, want string }{
		"default":           {"", "", `[\N] from default`},
		"list":              {`null: [\N, NULL, null, ~]`, "", `[\N,NULL,null,~] from file`},
		"list, key quoted":  {`"null": ["\\N", "n/a"]`, "", `[\N,n/a] from file`},
		"text":              {`null: NULL,not set`, "", `[NULL,not set] from file`},
		"one text":          {`null: NULL`, "", `[NULL] from file`},
		"none":              {`null: ""`, "", `[] from file`},
		"environment":       {`null: NULL`, `\N,not set`, `[\N,not set] from environment`},
		"other keys remain": {"null: x\ndrift: freeze\n", "", `[x] from file`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := program(t.Context(), t, "config", "--config", write(t, filepath.Join(t.TempDir(), "consent.yaml"), c.file), "-o", "json")
			if c.env != "" {
				cmd.Env = append(cmd.Env, "CONSENT_NULL="+c.env)
			}
			o := finish(t, cmd)
			for _, command := range []string{"ingest", "run"} {
				if got := value(t, o, command, "null"); got != c.want {
					t.Errorf("%s has %s, want %s", command, got, c.want)
				}
			}
			if strings.Contains(c.file, "freeze") && value(t, o, "run", "drift") != "freeze from file" {
				t.Error("another key is lost")
			}
		})
	}
	o := finish(t, program(t.Context(), t, "ingest", "--source", t.TempDir(), "--null", "caf\xe9"))
	if !strings.Contains(o.stderr, `--null: the text "caf\\xe9" is not valid UTF-8`) {
		t.Errorf("a text of Latin-1 gives %s", o.stderr)
	}
}

func TestSettingsPrecedence(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "consent.yaml"),
		"concurrency: 3\ndrift: freeze\ndatabase-url: postgres://u:secret@db/x\ndata-dir: /from/file\n")
	cmd := program(t.Context(), t, "config", "--config", file, "-o", "json")
	cmd.Env = append(cmd.Env, "CONSENT_DRIFT=discard", "CONSENT_SOURCE=https://u:secret@host/x/?sig=secret", "CONSENT_PORT=tcp://10.0.0.1:5432", "CONSENT_DATA_DIR=/from/env")
	o := finish(t, cmd)
	for name, want := range map[string]string{
		"concurrency": "3 from file", "drift": "discard from environment", "data-dir": "/from/env from environment",
		"max-rejected-ratio": "1% from default", "database-url": "postgres://u@db:5432/x from file",
		"source": "https://host/x/?… from environment",
	} {
		if got := value(t, o, "ingest", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(o.stdout, "secret") {
		t.Error("the password is shown")
	}

	// A list has commas in a variable, where its parts may be quoted, and is one in the file.
	list := write(t, filepath.Join(t.TempDir(), "list.yaml"), "reader-role: [Bi Reader, \"a,b\"]\n")
	cmd = program(t.Context(), t, "config", "--config", list, "-o", "json")
	if got, want := value(t, finish(t, cmd), "transform", "reader-role"), `[Bi Reader,"a,b"] from file`; got != want {
		t.Errorf("reader-role is %q, want %q", got, want)
	}
	cmd = program(t.Context(), t, "config", "--config", list, "-o", "json")
	cmd.Env = append(cmd.Env, `CONSENT_READER_ROLE=Bi Reader,team-a-dashboard,"a,b"`)
	if got, want := value(t, finish(t, cmd), "transform", "reader-role"), `[Bi Reader,team-a-dashboard,"a,b"] from environment`; got != want {
		t.Errorf("reader-role is %q, want %q", got, want)
	}

	// The command line overrides both.
	cmd = program(t.Context(), t, "ingest", "--config", file, "--drift", "nonsense")
	cmd.Env = append(cmd.Env, "CONSENT_DRIFT=discard")
	if o := finish(t, cmd); !strings.Contains(o.stderr, `"nonsense": expected evolve, freeze or discard`) {
		t.Errorf("the flag does not count: %s", o.stderr)
	}
	// A database on the command line overrides one set elsewhere.
	cmd = program(t.Context(), t, "status", "--data-dir", "/proc/none")
	cmd.Env = append(cmd.Env, "CONSENT_DATABASE_URL=postgres://x")
	if o := finish(t, cmd); !strings.Contains(o.stderr, "/proc/none") {
		t.Errorf("the folder on the command line does not count: %s", o.stderr)
	}
	// The file itself can be named by the environment.
	cmd = program(t.Context(), t, "config", "-o", "json")
	cmd.Env = append(cmd.Env, "CONSENT_CONFIG="+file)
	if got := value(t, finish(t, cmd), "run", "concurrency"); got != "3 from file" {
		t.Errorf("concurrency is %s", got)
	}
}

func TestInvalidSettings(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown key":              {"max-rejected-ration: 1%\n", []string{"config"}, "unknown key max-rejected-ration; did you mean max-rejected-ratio?"},
		"nested unknown key":       {"database:\n  url: x\n", []string{"config"}, "unknown key database.url; did you mean database-url?"},
		"a key like none":          {"zzz: 1\n", []string{"config"}, "unknown key zzz; the keys are"},
		"not YAML":                 {"a: [", []string{"config"}, "consent.yaml"},
		"wrong type":               {"concurrency: many\n", []string{"config"}, "the setting concurrency (--concurrency, CONSENT_CONCURRENCY or a key of --config)"},
		"no such file":             {"", []string{"config", "--config", filepath.Join(dir, "none.yaml")}, "none.yaml does not exist"},
		"unknown flag":             {"", []string{"ingest", "--sorce", "x"}, "unknown flag: --sorce"},
		"unknown command":          {"", []string{"ingset"}, "unknown command"},
		"output":                   {"", []string{"config", "-o", "xml"}, "expected table or json"},
		"log level":                {"", []string{"config", "--log-level", "loud"}, "expected auto, debug, info, warn or error"},
		"log format":               {"", []string{"config", "--log-format", "xml"}, "expected auto, text or json"},
		"no database":              {"", []string{"status"}, "give --database-url URL, or --data-dir FOLDER"},
		"two databases":            {"", []string{"status", "--database-url", "postgres://x", "--data-dir", "y"}, "give one of them"},
		"no source":                {"", []string{"ingest", "--data-dir", dir}, "give --source FOLDER"},
		"no input":                 {"", []string{"run"}, "give --source FOLDER"},
		"ratio":                    {"", []string{"ingest", "--source", dir, "--max-rejected-ratio", "101%"}, "expected a share from 0% to 100%"},
		"concurrency":              {"", []string{"ingest", "--source", dir, "--concurrency", "0"}, "expected 1 or more"},
		"run id":                   {"", []string{"ingest", "--source", dir, "--run-id", "7"}, "expected a UUID"},
		"drift":                    {"", []string{"ingest", "--source", dir, "--drift", "grow"}, "expected evolve, freeze or discard"},
		"no namespace":             {"", []string{"operator"}, "give --namespace NAMESPACE"},
		"namespace":                {"", []string{"operator", "--namespace", "Team_A"}, `"Team_A" is not the name of a namespace`},
		"lease":                    {"", []string{"operator", "--namespace", "a", "--lease", "My_Lease"}, `"My_Lease" is not the name of a Lease`},
		"an empty namespace":       {"", []string{"operator", "--namespace", "a", "--namespaces", "a,,b"}, `item 2, "", is not the name of a namespace`},
		"all namespaces, by *":     {"", []string{"operator", "--namespace", "a", "--namespaces", "*"}, "give --all-namespaces"},
		"some namespaces and all":  {"", []string{"operator", "--namespace", "a", "--namespaces", "b", "--all-namespaces"}, "none of the others can be"},
		"arguments where none are": {"", []string{"migrate", "now"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if c.file != "" {
				args = append(args, "--config", write(t, filepath.Join(t.TempDir(), "consent.yaml"), c.file))
			}
			o := consent(t, args...)
			if o.code != 78 || !strings.Contains(o.stderr, c.want) {
				t.Errorf("exit code %d, %s, want %q", o.code, o.stderr, c.want)
			}
		})
	}
}

// TestReleaseVersion builds the program with the version, commit and date where tools/compile puts them. It does not run that
// script, which would compile the clients of Kubernetes anew.
func TestReleaseVersion(t *testing.T) {
	script, err := os.ReadFile("../../tools/compile")
	if err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"VERSION": "1.2.3", "COMMIT": "0123456789abcdef", "DATE": "2026-11-29T15:30:07Z"}
	var flags []string
	for _, match := range regexp.MustCompile(`-X (\S+)=\$\{([A-Z]+):-\}`).FindAllStringSubmatch(string(script), -1) {
		flags = append(flags, "-X "+match[1]+"="+environment[match[2]])
	}
	path := filepath.Join(t.TempDir(), "consent")
	if output, err := exec.Command("go", "build", "-ldflags", strings.Join(flags, " "), "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, output)
	}
	output, err := exec.Command(path, "version").Output()
	want := fmt.Sprintf("consent 1.2.3 (commit 0123456789abcdef, 2026-11-29T15:30:07Z, %s, %s/%s)\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if err != nil || strings.Replace(string(output), ", modified", "", 1) != want {
		t.Errorf("consent version: %v, %s, want %s", err, output, want)
	}
	output, err = exec.Command(path, "version", "--output", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(output, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "modified") // of a clone with changes
	if want := map[string]any{
		"version": "1.2.3", "commit": "0123456789abcdef", "date": "2026-11-29T15:30:07Z", "go": runtime.Version(),
		"platform": runtime.GOOS + "/" + runtime.GOARCH,
	}; !maps.Equal(got, want) {
		t.Errorf("consent version -o json: %v, want %v", got, want)
	}
}

func TestVersionAndHelp(t *testing.T) {
	if o := consent(t, "version"); o.code != 0 || !strings.HasPrefix(o.stdout, "consent ") || !strings.Contains(o.stdout, runtime.Version()) {
		t.Errorf("version gives %+v", o)
	}
	o := consent(t)
	for _, want := range []string{"run ", "ingest ", "transform ", "migrate ", "status ", "generate ", "Exit codes"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("the help lacks %q", want)
		}
	}
}
