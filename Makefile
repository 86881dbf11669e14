# Targets of Cygnet. `make demo` needs Go and Linux, nothing else.
GO          ?= go
FUZZTIME    ?= 20s
BENCHTIME   ?= 1s
TESTTIMEOUT ?= 30m
PREFIX      ?= /usr/local
DESTDIR     ?=

# Tools that are run, not linked: pinned here, kept out of go.mod.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Packages with goroutines of their own; these run under the race detector.
RACE = ./internal/klips/... ./internal/pluto/... ./internal/whack/... ./internal/underlay/... ./internal/tun/...

.PHONY: all build demo test check bench fuzz install clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ipsec ./cmd/ipsec
	CGO_ENABLED=0 GOARCH=amd64 $(GO) build -trimpath -o /dev/null ./cmd/ipsec
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build -trimpath -o /dev/null ./cmd/ipsec

demo:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ipsec ./cmd/ipsec
	bin/ipsec demo $(SCENARIO)

test: build
	scripts/setup-test-env.sh
	scripts/test.sh $(TESTTIMEOUT) $(RACE)

check:
	GO="$(GO)" STATICCHECK=$(STATICCHECK) GOVULNCHECK=$(GOVULNCHECK) scripts/check.sh

bench: build
	scripts/setup-test-env.sh
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...
	$(GO) run ./bench/tunnel -ipsec bin/ipsec

fuzz:
	GO="$(GO)" scripts/fuzz.sh $(FUZZTIME)

install: build
	install -d $(DESTDIR)$(PREFIX)/sbin
	install -m 0755 bin/ipsec $(DESTDIR)$(PREFIX)/sbin/ipsec

clean:
	rm -rf bin
