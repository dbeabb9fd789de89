# The tests need Go, and either Docker or Java and npm to run DynamoDB Local: see internal/localdb. To use
# a DynamoDB Local that is already running, set DYNAMODB_LOCAL_ENDPOINT=http://host:port.

GO       ?= go
FUZZTIME ?= 30s
PHPFUZZTIME ?= 60s
FUZZJOBS ?= 2
COVERAGE ?= 90
TIMEOUT  ?= 60m
OPS      ?= 1000000

# The modules are this one and the nested ones, except that of the tools.
MODULES := . $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path './tools/*'))
TOOL     = $(GO) tool -C $(1) -modfile=$(CURDIR)/tools/go.mod
LOCALDB := $(GO) run ./internal/localdb --

.NOTPARALLEL:
.PHONY: help test gotest options lint vet cover fuzz soak bench vuln fmt tidy

help: ## Show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 10

test: lint vet gotest ## Check everything, as CI does

gotest: ## Run all tests, on dynamotest and on DynamoDB Local
	@echo 'Running all tests: about 15 minutes on two cores. Packages under internal/tests take most of it; each prints one line when it ends.'
	@echo 'TIMEOUT ($(TIMEOUT)) limits each package.'
	for dir in internal/tests/cost bench; do $(GO) test -C $$dir -count=1 -run Allocations . || exit; done # -race allocates as well
	$(GO) build -o bin/idwatch ./internal/idwatch
	$(LOCALDB) sh -ec 'for module in $(MODULES); do \
		$(GO) test -C $$module -exec "$(CURDIR)/bin/idwatch" -race -shuffle=on -count=1 -parallel 4 -timeout $(TIMEOUT) ./...; done'

options: ## Run the tests with the options that change the calls to DynamoDB
	$(LOCALDB) sh -ec 'for option in -eventual-reads -new-client -device-bound; do \
		$(GO) test -count=1 -parallel 4 -timeout $(TIMEOUT) . ./internal/tests/... $$option; done'

lint: ## Run the linters and check that go.mod and go.sum are tidy
	@echo 'Running the linters: 1 to 3 minutes.'
	set -e; for module in $(MODULES); do \
		$(GO) mod tidy -C $$module -diff; \
		$(call TOOL,$$module) golangci-lint run; done

vet: ## Run go vet, also for 32 bits, and build the commands and examples
	set -e; for module in $(MODULES); do $(GO) vet -C $$module ./...; done
	GOARCH=386 $(GO) vet ./...
	$(GO) build ./...

# The commands under internal, the model and what tests share do not count.
COVERED   = $(shell $(GO) list . ./internal/... | grep -v -e /idwatch -e /localdb -e /model -e /tests/ | paste -sd,)
cover: ## Check that the tests cover at least COVERAGE percent of the root package and internal ones
	$(LOCALDB) $(GO) test -count=1 -coverprofile=coverage.out -coverpkg=$(COVERED) . ./internal/...
	@$(GO) tool cover -func=coverage.out | awk '/^total:/ { print; exit $$3 + 0 < $(COVERAGE) }' || \
		{ echo 'This is less than $(COVERAGE)%.'; exit 1; }

# By default, Go may spend a minute on minimizing one input. Meanwhile it tries no other inputs, and the
# run may fail because its deadline passes. So minimizing is limited to ten tries.
fuzz: ## Run each fuzz test for FUZZTIME, those of phpsession for PHPFUZZTIME, FUZZJOBS at a time
	@set -e; list=$$($(GO) test -list '^Fuzz' ./...); echo "$$list" | \
		awk '/^Fuzz/ { target[n++] = $$1 } /^ok/ { time = $$2 ~ /phpsession$$/ ? "$(PHPFUZZTIME)" : "$(FUZZTIME)"; \
			while (n > 0) print $$2, target[--n], time }' | \
		xargs -P $(FUZZJOBS) -L 1 sh -c 'out=$$($(GO) test -run "^$$" -fuzz "^$$1\$$" -fuzztime "$$2" -fuzzminimizetime 10x -parallel 1 "$$0" 2>&1) || \
			{ echo "$$out"; exit 1; }; echo "$$1: $$(echo "$$out" | grep -o "execs: [0-9]*" | tail -n 1) in $$2"'

soak: ## Check the whole model and the histories of OPS requests; takes hours; SEED repeats a run
	SOAK=1 $(GO) test -count=1 -timeout=0 -v ./internal/protocol/model
	$(LOCALDB) $(GO) test -race -count=1 -timeout=0 -v -run '^TestHistories$$' -ops=$(OPS) $(if $(SEED),-seed=$(SEED)) ./internal/tests/history

bench: ## Measure the cost of a trace of requests; bench/README.md explains it and BENCHFLAGS
	$(LOCALDB) $(GO) run -C bench . $(BENCHFLAGS)

vuln: ## Look for known vulnerabilities in the code that the library calls
	$(call TOOL,.) govulncheck ./...

fmt: ## Format the code
	set -e; for module in $(MODULES); do $(call TOOL,$$module) golangci-lint fmt; done

tidy: ## Tidy go.mod and go.sum of every module
	set -e; for module in $(MODULES) tools; do $(GO) mod tidy -C $$module; done
