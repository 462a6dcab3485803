# One target for each task of a developer: see `make help`. It needs Go and Python 3.11 to 3.13, and installs everything else
# into this folder and Go's caches.

INPUT        ?= input
DATABASE_URL ?= $(value CONSENT_DATABASE_URL)
DATA_DIR     ?= $(value CONSENT_DATA_DIR)
ARGS         ?=
# The package whose tests take longest begins first: otherwise it would be the last, alone.
PKG          ?= ./test/oracle ./...
PYTHON       ?=
CGO_ENABLED  ?= 0

# The cluster, its images and the release in it. The default tag is the chart's.
CLUSTER        ?= consent
NODE_IMAGE     ?=
IMAGE          ?= consent
DBT_IMAGE      ?= consent-dbt
TAG            ?= $(shell sed -n 's/^appVersion: *//p' charts/consent-pipeline/Chart.yaml)
POSTGRES_IMAGE ?= $(shell sed -n 's/^  image: *\(postgres:.*\)/\1/p' charts/consent-pipeline/values.yaml)
NAMESPACE      ?= default
RELEASE        ?= consent
KUBE_CONTEXT   ?= kind-$(CLUSTER)

# A release: see tools/release.
REGISTRY   ?=
BUILDER    ?=
COSIGN_KEY ?=

export PYTHON DATABASE_URL DATA_DIR REGISTRY BUILDER COSIGN_KEY
export CGO_ENABLED
# The tools' versions are pinned in tools/go.mod, which keeps their dependencies out of ours.
TOOL := go tool -modfile=tools/go.mod
HELM_DOCS := $(TOOL) helm-docs --chart-search-root charts --sort-values-order file --log-level warning
VENV := $(CURDIR)/.venv/bin
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/golangci-lint
# If the home folder is not writable, Go's caches go into this folder.
ifneq ($(shell test -n "$$HOME" -a -w "$$HOME" && echo yes),yes)
export GOCACHE    := $(or $(GOCACHE),$(CURDIR)/.cache/go-build)
export GOMODCACHE := $(or $(GOMODCACHE),$(if $(GOPATH),$(firstword $(subst :, ,$(GOPATH)))/pkg/mod,$(CURDIR)/.cache/go-mod))
endif

# Settings for the scripts that work on the cluster.
IN_CLUSTER = CLUSTER="$(CLUSTER)" NODE_IMAGE="$(NODE_IMAGE)" IMAGE="$(IMAGE)" DBT_IMAGE="$(DBT_IMAGE)" TAG="$(TAG)" \
    POSTGRES_IMAGE="$(POSTGRES_IMAGE)" NAMESPACE="$(NAMESPACE)" RELEASE="$(RELEASE)" KUBE_CONTEXT="$(KUBE_CONTEXT)"
# A given database takes precedence over the cluster: DATABASE_URL, or the embedded one in DATA_DIR.
HERE = CONSENT_DATABASE_URL="$$DATABASE_URL" CONSENT_DATA_DIR="$$DATA_DIR"

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z0-9 -]+:.*## / { printf "  make %-16s  %s\n", $$1, $$2 }' Makefile
	@printf '\nVariables\n'
	@printf '  %-17s %s\n' \
	    'INPUT=DIR' 'the folder of files that `make run` loads (default: input)' \
	    'DATABASE_URL=URL' 'a Postgres to use (default: run starts one; seed, dbt-… and shell use the cluster)' \
	    'DATA_DIR=DIR' 'the data folder of an embedded Postgres to use' \
	    'ARGS="..."' 'further arguments for consent run, dbt (dbt-run) or go test (test)' \
	    'MINUTES=30' 'minutes that make e2e-unattended takes' \
	    'REGISTRY=HOST' 'the registry of make release-snapshot, such as ghcr.io/OWNER' \
	    'KILLS=200' 'number of kills in make chaos' \
	    'ROWS=1000000' 'number of events in make bench-dbt' \
	    'SEQUENCES=20' 'number of sequences in make sequences' \
	    'PKG=./...' 'the packages to test (default: all)' \
	    'PYTHON=PATH' 'the Python for .venv (default: one of 3.11 to 3.13 in PATH)'

##@ Use

.PHONY: run
run: build venv ## Load INPUT, build the metrics, print them and write the dashboard to report.html
	@CONSENT_DATABASE_URL="$$DATABASE_URL" bin/consent run --source "$(INPUT)" --report report.html \
	    $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(ARGS)

.PHONY: dbt-run
dbt-run: ## Run dbt on the loaded data, in the cluster or in DATABASE_URL or DATA_DIR
	@if [ -n "$$DATABASE_URL$$DATA_DIR" ]; then \
	    $(MAKE) --no-print-directory build venv && $(HERE) bin/consent transform $(if $(ARGS),-- $(ARGS)); \
	else $(IN_CLUSTER) tools/cluster-job dbt $(ARGS); fi

.PHONY: dbt-debug
dbt-debug: ## Test dbt's connection to the database: the cluster's, DATABASE_URL or DATA_DIR
	@if [ -n "$$DATABASE_URL$$DATA_DIR" ]; then \
	    $(MAKE) --no-print-directory build venv && $(HERE) bin/consent transform --debug; \
	else $(IN_CLUSTER) tools/cluster-job debug; fi

.PHONY: seed
seed: ## Load or reload the cluster's input, or INPUT into DATABASE_URL or DATA_DIR
	@if [ -n "$$DATABASE_URL$$DATA_DIR" ]; then \
	    $(MAKE) --no-print-directory build && $(HERE) bin/consent migrate && \
	    $(HERE) bin/consent ingest --source "$(INPUT)" $(ARGS); \
	else $(IN_CLUSTER) tools/cluster-job seed; fi

.PHONY: shell
shell: ## Open psql, in the cluster or on DATABASE_URL
	@if [ -n "$$DATABASE_URL" ]; then psql "$$DATABASE_URL"; \
	else $(IN_CLUSTER) tools/cluster-job shell; fi

##@ Cluster

.PHONY: kind-up
kind-up: image ## Create the kind cluster with the images, or load new images into it
	@$(IN_CLUSTER) tools/kind-up

.PHONY: kind-load
kind-load: image ## Build the images and load them into the kind cluster
	@$(IN_CLUSTER) tools/kind-load

.PHONY: kind-down
kind-down: ## Remove the kind cluster, with its data
	kind delete cluster --name "$(CLUSTER)"

.PHONY: down
down: kind-down ## Remove the kind cluster, as kind-down does

.PHONY: image
image: ## Build the two images, IMAGE:TAG and DBT_IMAGE:TAG
	@for target in consent consent-dbt; do \
	    case $$target in consent) name="$(IMAGE)" ;; *) name="$(DBT_IMAGE)" ;; esac; \
	    echo "building $$name:$(TAG)"; \
	    BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --quiet --target $$target --tag "$$name:$(TAG)" \
	        --build-arg VERSION="$(TAG)" --build-arg GOPROXY="$$(go env GOPROXY 2>/dev/null)" \
	        --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL . >/dev/null || exit 1; \
	done

.PHONY: e2e
e2e: ## Test the chart in a separate kind cluster (KEEP=1 keeps it for the next time)
	CONSENT_E2E_KEEP="$(KEEP)" go test -tags e2e -count=1 -timeout 30m -parallel 4 -v $(ARGS) ./test/e2e

.PHONY: e2e-slow
e2e-slow: ## Run the slow tests: rotation and rollback with both Helms, restricted platforms, Prometheus, Kueue
	CONSENT_E2E_KEEP="$(KEEP)" go test -tags e2e,slow -run '^TestSlow' -count=1 -timeout 60m -parallel 4 -v $(ARGS) ./test/e2e

MINUTES ?= 30
.PHONY: e2e-unattended
e2e-unattended: ## Run a pipeline by its schedule for MINUTES, with changing files and an outage of Postgres
	CONSENT_E2E_KEEP="$(KEEP)" CONSENT_E2E_MINUTES="$(MINUTES)" go test -tags e2e,slow -run '^TestUnattended$$' -count=1 \
	    -timeout $$(($(MINUTES) + 30))m -v $(ARGS) ./test/e2e

##@ Develop

.PHONY: build
build: ## Build bin/consent
	go build -trimpath -buildvcs=auto -ldflags "-s -w" -o bin/consent ./cmd/consent

.PHONY: test
test: venv ## Run the tests; the last lines list which tools are missing and how to get them
	@skips=$$(mktemp) && trap 'rm -f "$$skips"' EXIT && \
	KUBEBUILDER_ASSETS=$$(tools/envtest) && export KUBEBUILDER_ASSETS && \
	CONSENT_DBT="$(VENV)/dbt" CONSENT_TEST_SKIPS="$$skips" \
	    CONSENT_TEST_REQUIRE="dbt$${CONSENT_TEST_REQUIRE:+,$$CONSENT_TEST_REQUIRE}" \
	    go test -count=1 -timeout 30m $(ARGS) $(PKG); code=$$?; \
	awk -F': ' '{ count[$$1]++; how[$$1] = substr($$0, length($$1) + 3) } \
	    END { for (tool in count) printf "SKIPPED %s (tests: %d): %s\n", tool, count[tool], how[tool] }' \
	    "$$skips" | sort; exit $$code

.PHONY: test-postgres
test-postgres: ## Run only the tests on Postgres 15, 16 and 18 (make test includes them)
	@$(MAKE) --no-print-directory test ARGS="-run Versions $(ARGS)" \
	    PKG='./cmd/consent ./test/chaos ./internal/warehouse/... ./jobs/ingest'

KILLS ?= 200
.PHONY: chaos
chaos: ## Kill ingestion and Postgres KILLS times, and check every row after each
	go run ./test/chaos -kills "$(KILLS)" $(ARGS)

.PHONY: coverage
coverage: venv ## Simulate the coverage of the intervals, and write the tables of docs/statistics.md
	CONSENT_DBT="$(VENV)/dbt" CONSENT_TEST_REQUIRE=dbt go test -count=1 -timeout 2h -v ./test/coverage \
	    -thorough -write $(ARGS)

SEQUENCES ?= 20
.PHONY: sequences
sequences: venv ## Compare incremental builds with a full refresh, for SEQUENCES random sequences of changes
	CONSENT_DBT="$(VENV)/dbt" CONSENT_TEST_REQUIRE=dbt go test -count=1 -timeout 4h -v -run TestIncremental ./test/oracle \
	    -sequences $(SEQUENCES) $(ARGS)

.PHONY: bench
bench: build ## Compare ingestion with psql's \copy; empties the tables of DATABASE_URL, which should have lz4
	@test -n "$$DATABASE_URL" || { echo 'bench needs a database to itself: make bench DATABASE_URL=postgres://…' >&2; exit 1; }
	go run ./test/bench --database-url "$$DATABASE_URL" --consent bin/consent $(ARGS)

ROWS ?= 1000000
.PHONY: bench-dbt
bench-dbt: build venv ## Measure dbt with ROWS events; drops the schemas raw and analytics of DATABASE_URL
	@test -n "$$DATABASE_URL" || { echo 'bench-dbt needs a database of its own: make bench-dbt DATABASE_URL=postgres://…' >&2; exit 1; }
	CONSENT_DBT="$(VENV)/dbt" go run ./test/bench/dbt --database-url "$$DATABASE_URL" --consent bin/consent \
	    --rows "$(ROWS)" $(ARGS)

.PHONY: docs
docs: build venv ## Write dbt's documentation of DATABASE_URL to bin/metrics.html
	@test -n "$$DATABASE_URL" || { echo 'docs needs a database that make dbt-run has filled: make docs DATABASE_URL=postgres://…' >&2; exit 1; }
	@CONSENT_DATABASE_URL="$$DATABASE_URL" bin/consent transform --docs bin/metrics.html

.PHONY: bench-operator
bench-operator: build ## Measure the operator with 1,000 pipelines of 10 files; takes some minutes and needs envtest
	go test -run '^$$' -bench 'BenchmarkOperator|BenchmarkScheduledDay' -benchtime 1x -timeout 60m -v ./operator $(ARGS)

.PHONY: bench-dashboard
bench-dashboard: build ## Read the dashboard of DATABASE_URL, which must have metrics, with 50 readers for 30 seconds
	@test -n "$$DATABASE_URL" || { echo 'bench-dashboard needs a database with metrics: make run DATABASE_URL=postgres://…, then' \
	    'make bench-dashboard DATABASE_URL=postgres://…' >&2; exit 1; }
	go run ./test/bench/dashboard --database-url "$$DATABASE_URL" --consent bin/consent $(ARGS)

.PHONY: solution-numbers
solution-numbers: venv ## Run the queries of SOLUTION.md on input/ and CONSENT_REFERENCE_DATA (ARGS="-input DIR": also on yours)
	CONSENT_DBT="$(VENV)/dbt" CONSENT_TEST_REQUIRE=dbt go test -count=1 -v -run 'TestPages|TestSolution|TestQueries' ./test/docs $(ARGS)

.PHONY: check
check: check-go check-generated check-licences check-sql check-shell check-ci check-chart check-docs check-vuln ## Check format, linters, pages and dependencies; runs no tests

.PHONY: check-go
check-go: ## Check Go: format, vet, linters, import rules, go.mod
	$(TOOL) golangci-lint config verify
	$(TOOL) golangci-lint run
	go mod tidy -diff
	go mod verify

.PHONY: check-generated
check-generated: ## Check that the files generated from api/ are current
	@tools/generate check

.PHONY: check-licences
check-licences: venv ## Check that a release may contain all dependencies, and that licences/ has their licences
	go -C tools test ./licences
	go -C tools run ./licences -check

.PHONY: check-sql
check-sql: venv-check ## Check the models' SQL
	$(VENV)/sqlfluff lint --processes 2 dbt_project

.PHONY: check-shell
check-shell: venv-check ## Check the shell scripts
	@PATH="$(VENV):$$PATH"; \
	if command -v shellcheck >/dev/null; then shellcheck .ci/run charts/consent-pipeline/files/postgresql/keep-password.sh \
	        tools/cluster-job tools/envtest tools/generate tools/govulncheck tools/kind-load tools/kind-up tools/lock \
	        tools/compile tools/release tools/release-check tools/venv; \
	else echo 'SKIPPED shellcheck: no wheel for this machine; install it (Debian: apt-get install shellcheck)'; fi

.PHONY: check-ci
check-ci: ## Check the workflows
	$(TOOL) actionlint .github/workflows/*.yml

.PHONY: check-chart
check-chart: ## Check the chart: helm lint, the values in its README
	@$(HELM_DOCS) --dry-run | diff -u charts/consent-pipeline/README.md - || \
	    { echo 'charts/consent-pipeline/README.md is not current: run `make generate`' >&2; exit 1; }
	@if command -v helm >/dev/null; then helm lint --strict --quiet charts/consent-pipeline; \
	else echo 'SKIPPED helm lint: helm is not installed'; fi

.PHONY: check-docs
check-docs: build ## Check the pages: links, paths, make targets, commands, flags, numbers
	go run ./test/docs

.PHONY: check-vuln
check-vuln: ## Look for known vulnerabilities, if their database can be reached
	@tools/govulncheck

.PHONY: fmt
fmt: venv-check ## Format Go and SQL
	$(TOOL) golangci-lint fmt
	$(VENV)/sqlfluff format --processes 2 dbt_project

.PHONY: generate
generate: build ## Generate input/, the CRD, docs/api.md and the README of the chart
	bin/consent generate --force
	tools/generate
	$(HELM_DOCS)
	@$(MAKE) --no-print-directory check-chart

.PHONY: licences
licences: venv ## Collect the licences of all dependencies in licences/
	go -C tools run ./licences

.PHONY: lock
lock: ## Pin the Python packages again from tools/*.in (needs Python 3.11)
	tools/lock

.PHONY: venv
venv: ## Create .venv with dbt; the targets that need it run this target
	@tools/venv

.PHONY: venv-check
venv-check:
	@tools/venv check

.PHONY: release-snapshot
release-snapshot: ## Build a release in dist/ and push it to REGISTRY, without publishing it (see tools/release)
	SNAPSHOT=1 tools/release archives images chart checksums sign verify

.PHONY: release-check
release-check: ## Try the release path: a registry on loopback, signatures, tampering, installation into a kind cluster of its own
	@tools/release-check $(ARGS)

.PHONY: zip
zip: ## Pack the committed files as consent-pipeline.zip
	git archive --format zip --prefix consent-pipeline/ --output consent-pipeline.zip HEAD

.PHONY: clean
clean: ## Remove build output; the embedded database's data stays
	rm -rf bin dist .venv .cache dbt_project/target dbt_project/logs
