package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"consentpipeline.io/test/testneeds"
	"consentpipeline.io/test/warehousetest"
)

func TestMain(m *testing.M) {
	defer os.RemoveAll(programFolder)
	warehousetest.Main(m)
}

var programFolder string

// program is the path of the program, which is built once.
var program = sync.OnceValues(func() (path string, err error) {
	if programFolder, err = os.MkdirTemp("", "consent-docs-"); err != nil {
		return "", err
	}
	path = filepath.Join(programFolder, "consent")
	output, err := exec.Command("go", "build", "-o", path, "consentpipeline.io/cmd/consent").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the program: %w\n%s", err, output)
	}
	return path, err
})

func programPath(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// folder returns a project with the program, the Makefile and two files to link to, and its help.
func folder(t *testing.T) (root string, help help) {
	t.Helper()
	root = t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(root, "bin"), 0o755),
		os.Symlink(programPath(t), filepath.Join(root, "bin", "consent"))); err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(testneeds.Root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "Makefile"), string(makefile))
	writeFile(t, filepath.Join(root, "docs/other.md"), "# Other page\n\n## Each row once\n\n## What happens when `consent` dies?\n\n## Each row once\n")
	writeFile(t, filepath.Join(root, "docs/picture of it.svg"), "<svg/>")
	help, err = readHelp(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return root, help
}

func TestCheck(t *testing.T) {
	root, help := folder(t)
	tests := map[string]struct {
		text string
		want []string // suffixes of the problems, in order
	}{
		"links to files, headings and pictures that are there": {
			text: "[a](docs/other.md), [b](docs/other.md#each-row-once), [c](docs/other.md#each-row-once-1), [d](#readme),\n" +
				"[e](docs/other.md#what-happens-when-consent-dies), ![f](<docs/picture of it.svg>), [g](docs/), [h](https://a.b/c#d)\n\n[i]: docs/other.md\n",
		},
		"a link to no file": {
			text: "see [this](docs/gone.md)\n", want: []string{"README.md:5: link to docs/gone.md, which does not exist"},
		},
		"a picture that is not there": {
			text: "<img src=\"docs/gone.svg\">\n", want: []string{"link to docs/gone.svg, which does not exist"},
		},
		"a link to no heading": {
			text: "[a](docs/other.md#each-row-twice) and [b](#elsewhere)\n",
			want: []string{"no such heading in docs/other.md", "no such heading in README.md"},
		},
		"a heading in a code block is none": {
			text: "[a](#not-a-heading)\n\n```sh\n# Not a heading\n```\n", want: []string{"no such heading in README.md"},
		},
		"a link in code is none": {
			text: "`[a](b.md)`\n\n    [c](d.md)\n\n```\n[e](f.md)\n```\n",
		},
		"paths that are there, also as patterns, and what is no path of ours": {
			text: "`docs/other.md`, `docs/*.md`, `docs/{other,other}.md`, `events/csv/a.csv`, `a/b`, `docs/`\n",
		},
		"paths that are not there": {
			text: "`docs/gone.md` and `docs/{other,gone}.md`\n",
			want: []string{"names docs/gone.md, which does not exist", "names docs/{other,gone}.md, which does not exist"},
		},
		"make targets that are there": {
			text: "Say `make run`, `make test PKG=./jobs/...`, `make -s check`, `make TARGET` or\n\n    $ make build && make help   # and make nonsense\n    FOO=1 make test\n",
		},
		"make targets and variables that are not": {
			text: "Say `make rum` or\n\n    cd /tmp && make build tests\n    make run INPT=x\n",
			want: []string{"README.md:5: make has no target rum (make help)", "README.md:7: make has no target tests (make help)",
				"README.md:8: the Makefile has no variable INPT"},
		},
		"make in a sentence or in what a command prints": {
			text: "You make nonsense.\n\n    FILE   STATE\n    it's   make nonsense\n",
		},
		"commands and flags that are there": {
			text: "`consent ingest --source ./input --check`, `consent ingest -o json`, `--max-rejected-ratio`, `consent COMMAND --help`\n\n" +
				"    bin/consent transform --data-dir ./data -- --vars 'extrapolation: count'\n    consent ingest --source x \\\n        --check\n" +
				"    kubectl exec -it postgresql-0 -- consent status --data-dir x\n    kubectl consent run september --wait -n x\n" +
				"    consent pipelines logs september -f\n    kubectl consent VERB NAME\n",
		},
		"commands and flags that are not": {
			text: "`consent ingst`, `consent ingest --chekc`, `--max-reject`\n\n    bin/consent ingest --source x \\\n        --chekc\n" +
				"    kubectl exec postgresql-0 -- consent state\n    kubectl consent start september\n    consent pipelines run september --follow\n",
			want: []string{"README.md:5: consent has no command ingst (consent --help)", "consent ingest has no flag --chekc (consent ingest --help)",
				"README.md:5: --max-reject is a flag of no command", "README.md:7: consent ingest has no flag --chekc (consent ingest --help)",
				"README.md:9: consent has no command state (consent --help)",
				"README.md:10: consent has no command pipelines start (consent --help)",
				"README.md:11: consent pipelines run has no flag --follow (consent pipelines run --help)"},
		},
		"variables that are read": {text: "`CONSENT_DATABASE_URL`, `CONSENT_TEST_REQUIRE=psql`, `CONSENT_…`\n"},
		"a variable that nothing reads": {
			text: "`CONSENT_DATABASE`\n\n    export CONSENT_DATABSE_URL=x\n",
			want: []string{"README.md:5: nothing reads CONSENT_DATABASE", "README.md:7: nothing reads CONSENT_DATABSE_URL"},
		},
		"numbers that are in the result, and such as are none": {
			text: "## Found\n\nOf 1,234 rows 3.5% are so; `95%` of w2, see [there](docs/other.md#each-row-once-1).\n\n1. Twice.\n\n" +
				"<!-- query on: input/ -->\n```sql\nselect 1\n```\n\n```text\n   n   | share\n-------+------\n  1234 | 3.5%\n```\n\n## 2025\n\nAgain 1,234.\n",
		},
		"a number that is in no result under its heading": {
			text: "## Found\n\nOf 1,235 rows.\n\n<!-- query on: the real export -->\n```sql\nselect 1\n```\n\n```text\n n\n---\n 1234\n```\n",
			want: []string{"README.md:7: the number 1235 is in no result under this heading"},
		},
		"a number that is in no result of the page": {
			text: "## Summary\n\n1,234, not 7.\n\n## Found\n\n<!-- query on: the real export -->\n```sql\nselect 1\n```\n\n```text\n n\n---\n 1234\n```\n",
			want: []string{"README.md:7: the number 7 is in no result of this page"},
		},
		"a query without a result": {
			text: "<!-- query on: input/ -->\n```sql\nselect 1\n```\n", want: []string{"followed by a block ```text with its result"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(root, "README.md"), "# Readme\n\n[other](docs/other.md)\n\n"+test.text)
			var out bytes.Buffer
			err := check(&out, root, help)
			if (err != nil) != (len(test.want) > 0) {
				t.Errorf("the error is %v", err)
			}
			found := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if out.Len() == 0 {
				found = nil
			}
			if len(found) != len(test.want) {
				t.Fatalf("found %d things, want %d:\n%s", len(found), len(test.want), out.String())
			}
			for i, want := range test.want {
				if !strings.HasSuffix(found[i], want) {
					t.Errorf("found %q, want %q", found[i], want)
				}
			}
		})
	}
}

func TestCheckFindsUnlinkedPage(t *testing.T) {
	root, help := folder(t)
	writeFile(t, filepath.Join(root, "README.md"), "# Readme\n")
	var out bytes.Buffer
	if err := check(&out, root, help); err == nil || out.String() != "docs/other.md:1: README.md has no link to this page\n" {
		t.Errorf("%v: %s", err, out.String())
	}
}
