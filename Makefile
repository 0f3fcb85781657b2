# The verbs of the house; `make help` lists them. Each module (the program, test/, bench/, tools/) has a go.mod of its own.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

MODULES := . test bench
# The builds of `make test` leave it out: with it, everything that the tests are built of would be compiled once more.
TRIM := -trimpath
# The linters collect garbage only beyond 4 GiB: that saves a fifth of their work, or more.
LINT := GOGC=off GOMEMLIMIT=4GiB go tool -modfile=$(CURDIR)/tools/go.mod golangci-lint run --config $(CURDIR)/.golangci.yml --max-same-issues 0 --max-issues-per-linter 0
# `lint` vets every package, with more than `go test` does: it need not vet each once more, for each set of flags.
VET := -vet=off
OAPI := go tool -modfile=$(CURDIR)/tools/go.mod oapi-codegen -config oapi-codegen.yaml -o
# Packages in which goroutines share state: they run under the race detector, the longest first. It watches Havn and its libraries, but not the inside of SQLite:
# that is C in the form of Go, whose memory the detector can't see, and took two thirds of the time. Nothing else may be left out: where such a package has
# its own copy of generic code, as of the map in sync, the linker may take that one for the whole program, and locks are no longer seen. `race` looks first.
UNWATCHED := modernc.org/sqlite/lib
# The detector's own memory in large pages, where the machine gives them: it has several bytes for each of the program's, and touches them all when something is copied.
TSAN := GORACE=no_huge_pages_for_shadow=0
RACEFLAGS := -race -gcflags=$(UNWATCHED)=-race=false
RACE := ./internal/registry/... ./internal/harborapi/... ./internal/server/... ./internal/access/... ./internal/distapi/... ./cmd/havn ./internal/sqldb/... ./internal/blob/... ./internal/sweep/... ./internal/redis/... ./internal/cluster/... ./internal/egress
REST = $$(go list ./... | grep -vxFf <(go list $(RACE)))
# As many compilers as processors run at once: more threads in each of them only collect garbage beside each other, a fifth of the work. Fewer collections save an eighth.
COMPILER := GOMAXPROCS=1 GOGC=400
COMPILE = $(COMPILER) go list -p $(shell nproc) -export -deps
FUZZTIME ?= 20s
CHAOS_TIME ?= 1h
BENCHFLAGS ?=
# The packages of test/, as `make test` runs them. They wait for services a part of their time, so that two run at once: FIRST beside engines, `rados` with a lower
# priority beside ha, which measures gaps, and SECOND beside chaos. ALONE measure shorter times, or need a machine that does nothing else.
FIRST := stores nfs ldap oidc lab harbor forgetfs programs prepare harness
SECOND := redis
ALONE := faults scale conformance deployment clients docs
PACKAGES ?= ./...
# Beyond so many minutes, make test warns that it has become too slow.
TEST_MINUTES := 40

.PHONY: help build compile generate fresh check format lint radoslint unit rest race rados prepare services test chaos fuzz bench clean

help: ## what each verb does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

build: ## the program, at ./havn
	go build $(TRIM) -o havn ./cmd/havn

compile: ## what `make test` is built of, into Go's cache: quicker there than by the stages; needs gcc and librados-dev
	$(COMPILE) -modfile=tools/go.mod github.com/golangci/golangci-lint/v2/cmd/golangci-lint github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen >/dev/null
	$(COMPILE) -test $(REST) >/dev/null
	$(COMPILE) -test $(RACEFLAGS) $(RACE) >/dev/null
	cd test && $(COMPILE) -test ./... >/dev/null && $(COMPILE) -test -tags rados ./stores >/dev/null

generate: ## the types and the table of Harbor's API, and its client, of its document
	cd internal/harborapi && $(OAPI) generated.go openapi.yaml
	cd internal/client && $(OAPI) generated.go ../harborapi/openapi.yaml

fresh: ## is what is generated as `make generate` makes it?
	@new=$$(mktemp); trap 'rm -f "$$new"' EXIT; for p in harborapi client; do (cd internal/$$p && $(OAPI) "$$new" ../harborapi/openapi.yaml && cmp "$$new" generated.go) || { echo "internal/$$p/generated.go is not of openapi.yaml: make generate"; exit 1; }; done

check: format fresh lint unit ## format, generated code, lint, unit tests: before every commit

format: ## are all files gofmt-ed?
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then printf 'not formatted (gofmt -w them):\n%s\n' "$$bad"; exit 1; fi

lint: ## golangci-lint, which vets too, over every module
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(LINT) ./...) || exit 1; done

radoslint: ## golangci-lint over what the tag rados adds; needs librados-dev
	@echo "lint with the tag rados"; export GOFLAGS="$${GOFLAGS:-} -tags=rados"; $(LINT) ./cmd/havn ./internal/server ./internal/blob/rados && cd test && $(LINT) ./stores

unit: ## go test ./... of the program: quick, needs nothing installed
	go test ./...

rest: ## the unit tests that race does not run
	go test $(VET) $(REST)

race: ## the packages that share state, under the race detector
	@symbols=$$(go tool nm "$$(go list $(RACEFLAGS) -export -f '{{.Export}}' $(UNWATCHED))"); if grep ' T [^:]*\[go\.shape' <<<"$$symbols"; then echo "$(UNWATCHED) has generic code of others: see UNWATCHED in the Makefile"; exit 1; fi
	$(TSAN) go test $(VET) $(RACEFLAGS) -timeout 20m $(RACE)

rados: ## the program with librados (Ceph without a gateway): the driver and the program on a real Ceph
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; set -x; \
	go build -tags rados -o "$$dir/havn" ./cmd/havn; \
	cd test; HAVN_TEST_BINARY="$$dir/havn" go test $(VET) -count=1 -timeout 15m -tags rados -run 'RADOS|Pool' ./stores

prepare: ## install what the tests with real services need, from Debian, the npm registry and the Go module proxy
	cd test && go run ./prepare

services: ## the tests with real services and real clients, package by package
	cd test && go test $(VET) -count=1 -p 1 -timeout 30m $(PACKAGES)

# `beside NICENESS TARGETS` runs targets of make in a lane of their own, until `joined`.
test: ## everything: what .ci/run calls; says at its end how long each stage took
	@failed= table= began=0; \
	took() { table+=$$(printf '%6d  %s' $$((SECONDS - began)) "$$*")$$'\n'; began=$$SECONDS; }; \
	run() { echo "=== $$*"; make --no-print-directory "$$@" || failed+="; make $$*"; took "$$*"; }; \
	beside() { lane="$${*:2}"; echo "=== $$lane, beside what follows, after which it is shown"; out=$$(mktemp); setsid nice -n $$1 make --no-print-directory "$${@:2}" >"$$out" 2>&1 & pid=$$!; trap 'kill -- -$$pid' EXIT; }; \
	joined() { wait $$pid || failed+="; make $$lane"; trap - EXIT; echo "=== $$lane"; cat "$$out"; rm -f "$$out"; took "$$lane, beyond what it ran beside"; }; \
	export HAVN_TEST_BINARY="$${HAVN_TEST_BINARY:-$(CURDIR)/havn}"; \
	{ $(COMPILER) make --no-print-directory build TRIM=-p=$(shell nproc) && \
	if type -P gcc >/dev/null; then make --no-print-directory compile || echo "compiling again when Debian's packages are there"; fi; } & build=$$!; \
	(cd test && go run ./prepare debian && go run ./prepare azurite); took prepare; wait $$build || failed+="; make build"; took build; \
	log=$$(mktemp); echo "building the clients of the tests in the background (minutes, the first time)"; \
	(cd test && exec nice -n 10 go run ./prepare clients >"$$log" 2>&1) & clients=$$!; \
	for v in format compile fresh lint radoslint rest race; do run $$v; done; \
	beside 0 services PACKAGES='$(FIRST:%=./%)'; run services PACKAGES=./engines; joined; \
	beside 10 rados; run services PACKAGES=./ha; joined; \
	beside 0 services PACKAGES='$(SECOND:%=./%)'; run services PACKAGES=./chaos; joined; \
	echo "=== waiting for the clients"; \
	wait $$clients || { cat "$$log"; failed+="; prepare clients"; }; rm -f "$$log"; took "waiting for the clients"; \
	for p in $(ALONE); do run services PACKAGES=./$$p; done; \
	printf '=== seconds\n%s%6d  in all\n' "$$table" $$SECONDS; \
	if [ $$SECONDS -gt $$(($(TEST_MINUTES) * 60)) ]; then echo "WARNING: make test took $$((SECONDS / 60)) minutes, more than $(TEST_MINUTES)"; fi; \
	if [ -n "$$failed" ]; then echo "FAILED:$${failed#;}"; exit 1; fi; echo "all passed"

chaos: ## everything Havn stands on fails, under load, for CHAOS_TIME; writes docs/reports/chaos-DATE.md
	mkdir -p docs/reports
	cd test && CHAOS_TIME=$(CHAOS_TIME) CHAOS_REPORT=$(CURDIR)/docs/reports/chaos-$$(date -u +%F).md go test -count=1 -timeout 24h -run '^TestChaos$$' -v ./chaos

fuzz: ## each fuzzer for FUZZTIME
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$p/*_test.go | cut -d' ' -f2); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) ./$$p || exit 1; done; done

bench: ## side by side with other registries and nginx; BENCHFLAGS="-workloads … -peers … -rounds N"
	cd bench && go run . $(BENCHFLAGS)

clean: ## what was built here
	rm -f havn
