# Everything a developer does, one target each: `make help`. It needs Go and Python 3.11 to 3.13; what else it uses it
# installs itself, into this folder and Go's caches.

INPUT        ?= input
DATABASE_URL ?= $(value CONSENT_DATABASE_URL)
DATA_DIR     ?=
ARGS         ?=
PKG          ?= ./...
PYTHON       ?=
CGO_ENABLED  ?= 0

export PYTHON DATABASE_URL
export CGO_ENABLED
# golangci-lint's version is pinned in tools/go.mod, which keeps its dependencies out of ours.
TOOL := go tool -modfile=tools/go.mod
VENV := $(CURDIR)/.venv/bin
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/golangci-lint
# Where the home folder cannot be written, Go's caches have no place but here.
ifneq ($(shell test -n "$$HOME" -a -w "$$HOME" && echo yes),yes)
export GOCACHE    := $(or $(GOCACHE),$(CURDIR)/.cache/go-build)
export GOMODCACHE := $(or $(GOMODCACHE),$(if $(GOPATH),$(firstword $(subst :, ,$(GOPATH)))/pkg/mod,$(CURDIR)/.cache/go-mod))
endif

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@printf '\nVariables\n'
	@printf '  %-17s %s\n' \
	    'INPUT=DIR' 'the folder of files that `make run` loads (default: input)' \
	    'DATABASE_URL=URL' 'a Postgres to use; without it an embedded one is started' \
	    'DATA_DIR=DIR' 'where the embedded Postgres keeps its data' \
	    'ARGS="..."' 'more arguments: of consent run, of dbt (dbt-run), of go test (test)' \
	    'KILLS=200' 'how often make chaos kills' \
	    'PKG=./...' 'the packages to test (default: all)' \
	    'PYTHON=PATH' 'the Python to make .venv with (default: one of 3.11 to 3.13 on PATH)'

##@ Use

.PHONY: run
run: build venv ## Load INPUT, build the metrics and print them
	@CONSENT_DATABASE_URL="$$DATABASE_URL" bin/consent run --input "$(INPUT)" \
	    $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(ARGS)

.PHONY: dbt-run
dbt-run: build venv ## Run the dbt project over what DATABASE_URL has loaded
	@test -n "$$DATABASE_URL" || { echo 'dbt-run needs a database: make dbt-run DATABASE_URL=postgres://…' \
	    '(`make run` does everything on an embedded one)' >&2; exit 1; }
	@CONSENT_DATABASE_URL="$$DATABASE_URL" bin/consent transform $(if $(ARGS),-- $(ARGS))

##@ Develop

.PHONY: build
build: ## Build bin/consent
	go build -trimpath -ldflags "-s -w" -o bin/consent ./cmd/consent

.PHONY: test
test: venv ## Run the tests; the last lines say what did not run and how to get it
	@skips=$$(mktemp) && trap 'rm -f "$$skips"' EXIT && \
	CONSENT_DBT="$(VENV)/dbt" CONSENT_TEST_SKIPS="$$skips" \
	    CONSENT_TEST_REQUIRE="dbt$${CONSENT_TEST_REQUIRE:+,$$CONSENT_TEST_REQUIRE}" \
	    go test -count=1 $(ARGS) $(PKG); code=$$?; \
	if [ -s "$$skips" ]; then \
	    printf '\nDid not run:\n'; sort "$$skips" | sed 's/^/  /'; \
	fi; exit $$code

KILLS ?= 200
.PHONY: chaos
chaos: ## Kill and disturb ingestion and Postgres, KILLS times, and check every row
	go run ./internal/chaos -kills "$(KILLS)" $(ARGS)

.PHONY: bench
bench: build ## Measure ingestion beside psql's \copy; empties the tables of DATABASE_URL, which should have lz4
	@test -n "$$DATABASE_URL" || { echo 'bench needs a database to itself: make bench DATABASE_URL=postgres://…' >&2; exit 1; }
	go run ./internal/bench --database-url "$$DATABASE_URL" --consent bin/consent $(ARGS)

.PHONY: check
check: check-go check-generated check-sql check-shell check-vuln ## Check format, linters and dependencies; runs no tests

.PHONY: check-go
check-go: ## Check Go: format, vet, linters, import rules, go.mod
	$(TOOL) golangci-lint config verify
	$(TOOL) golangci-lint run
	go mod tidy -diff
	go mod verify

.PHONY: check-generated
check-generated: ## Check that what is generated from api/ is current
	@tools/generate check

.PHONY: check-sql
check-sql: venv-check ## Check the models' SQL
	$(VENV)/sqlfluff lint --processes 2 dbt_project

.PHONY: check-shell
check-shell: venv-check ## Check the shell scripts
	@PATH="$(VENV):$$PATH"; \
	if command -v shellcheck >/dev/null; then shellcheck .ci/run tools/generate tools/govulncheck tools/lock tools/venv; \
	else echo 'SKIPPED shellcheck: no wheel for this machine; install it (Debian: apt-get install shellcheck)'; fi

.PHONY: check-vuln
check-vuln: ## Look for known vulnerabilities, where their database can be reached
	@tools/govulncheck

.PHONY: fmt
fmt: venv-check ## Format Go and SQL
	$(TOOL) golangci-lint fmt
	$(VENV)/sqlfluff format --processes 2 dbt_project

.PHONY: generate
generate: build ## Make the generated files again (input/, CRD, docs/api.md)
	bin/consent generate --force
	tools/generate

.PHONY: lock
lock: ## Pin the Python packages anew from tools/*.in (needs Python 3.11)
	tools/lock

.PHONY: venv
venv: ## Make .venv with dbt; the targets that need it do so by themselves
	@tools/venv

.PHONY: venv-check
venv-check:
	@tools/venv check

.PHONY: clean
clean: ## Remove what was built; the embedded database's data stays
	rm -rf bin .venv .cache dbt_project/target dbt_project/logs
