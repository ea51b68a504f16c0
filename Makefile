# gyre: every target says what it does; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MODULES := bpf bus collector daemon enricher evaluator gyre schemas sink
BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/gyre-sec/gyre/daemon.version=$(VERSION)
GOTEST ?= go test
# sudo takes the directory of Go's own installation off the path.
export PATH := $(PATH):/usr/local/go/bin

.PHONY: docs help up build test race lint fmt tidy generate check-generate fuzz bench bench-overhead kernel-test e2e deps deps-test down clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: ## build gyre and the four stage programs into bin/
	@mkdir -p $(BIN)
	@echo "build: programs into $(BIN)/"
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./gyre/cmd/gyre ./collector/cmd/gyre-collector ./enricher/cmd/gyre-enricher ./evaluator/cmd/gyre-evaluator ./sink/cmd/gyre-sink

up: build ## build and run the whole pipeline on this host (as root); UP_ARGS are passed on
	@$(BIN)/gyre clickhouse fetch --if-missing
	@exec $(BIN)/gyre up $(UP_ARGS)

deps: ## show what the tests need and install what is missing (apt-get, npm; as root)
	@deploy/deps.sh

test: deps build ## run all tests: unit, real servers, this kernel, a VM's kernel, end to end (as root)
	@bin/gyre clickhouse fetch --if-missing
	@deploy/test.sh

race: ## run the tests that need no privilege with the race detector
	@$(GOTEST) -race $(addsuffix /...,$(addprefix ./,$(filter-out gyre,$(MODULES))))

kernel-test: deps ## run the capture tests on this kernel and in a VM with Debian's kernel (as root)
	@$(GOTEST) -count=1 -v ./bpf/... ./collector/probe/...

e2e: build ## run the end-to-end tests (as root)
	@$(GOTEST) -count=1 -v ./gyre/e2e/...

bench: build ## measure: hot paths, then the pipeline end to end (as root)
	@go test -run '^$$' -bench . -benchmem ./schemas/... ./bus/... ./collector/... ./enricher/... ./evaluator/... ./sink/...
	@go run ./gyre/bench

bench-overhead: build ## measure what capture costs programs, on this kernel and by instructions in a VM (as root, about 7 minutes)
	@go run ./gyre/bench/overhead

fuzz: ## run every fuzz target for FUZZTIME (default 30s)
	@deploy/fuzz.sh

generate: ## rebuild the eBPF objects (needs clang and libbpf-dev)
	@cd bpf && go generate ./...

check-generate: generate ## prove that the committed eBPF objects are what the sources give
	@git diff --exit-code -- bpf && echo "check-generate: the committed objects are current"

docs: ## write the documents that are made from the code's tables
	@cd gyre && go test ./docs -run 'TestEventsPage|TestRulesPage' -count=1 -args -update

lint: ## run the linters
	@GOWORK=off go -C .tools build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@bin/golangci-lint run $(addsuffix /...,$(addprefix ./,$(MODULES)))

fmt: ## format the Go sources
	@gofmt -w $(MODULES)

tidy: ## tidy every module and prove that each builds on its own
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy && GOWORK=off go build ./...) || exit 1; done

down: ## stop a running `gyre up` of the default data directory
	@$(BIN)/gyre down

clean: ## remove what build made
	@rm -rf $(BIN)
