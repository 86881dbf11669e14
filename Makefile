# Targets of Cygnet. `make demo` needs Go and Linux, nothing else.
GO          ?= go
FUZZTIME    ?= 20s
BENCHTIME   ?= 1s
MESH        ?= 200
TESTTIMEOUT ?= 30m
PREFIX      ?= /usr/local
DESTDIR     ?=
SBINDIR     ?= $(PREFIX)/sbin
SHAREDIR    ?= $(PREFIX)/share
MANDIR      ?= $(SHAREDIR)/man
UNITDIR     ?= /usr/lib/systemd/system
SYSCONFDIR  ?= /etc
BIN         ?= bin/ipsec
ENABLE      ?= yes

# Tools that are run, not linked: pinned here, kept out of go.mod.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Packages with goroutines of their own; these run under the race detector.
RACE = ./internal/klips/... ./internal/pluto/... ./internal/whack/... ./internal/underlay/... ./internal/tun/...

.PHONY: all build demo test check bench fuzz install install-files clean

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
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem -timeout 0 ./...
	$(GO) test -run 'Mesh|Flood' -v -timeout 0 ./internal/sim -mesh $(MESH) -flood 30s
	$(GO) test -run Flood -v ./internal/interop -flood 30s
	$(GO) run ./bench/tunnel -ipsec bin/ipsec

fuzz:
	GO="$(GO)" scripts/fuzz.sh $(FUZZTIME)

install: build install-files
	if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ] && [ "$(ENABLE)" = yes ]; then \
		systemctl daemon-reload && systemctl enable ipsec.service; fi

# The files alone, with the binary $(BIN). An ipsec.conf that is there stays.
install-files:
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/init.d \
		$(DESTDIR)$(SHAREDIR)/bash-completion/completions $(DESTDIR)$(SHAREDIR)/zsh/site-functions \
		$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d $(DESTDIR)$(SHAREDIR)/doc/cygnet
	install -d -m 0700 $(DESTDIR)$(SYSCONFDIR)/ipsec.d $(DESTDIR)$(SYSCONFDIR)/ipsec.d/private
	install -d $(addprefix $(DESTDIR)$(SYSCONFDIR)/ipsec.d/,policies cacerts certs crls)
	install -m 0755 $(BIN) $(DESTDIR)$(SBINDIR)/ipsec
	$(BIN) man $(DESTDIR)$(MANDIR)
	$(BIN) completion bash >$(DESTDIR)$(SHAREDIR)/bash-completion/completions/ipsec
	$(BIN) completion zsh >$(DESTDIR)$(SHAREDIR)/zsh/site-functions/_ipsec
	$(BIN) completion fish >$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/ipsec.fish
	sed 's,@SBINDIR@,$(SBINDIR),' packaging/ipsec.service.in >$(DESTDIR)$(UNITDIR)/ipsec.service
	sed 's,@SBINDIR@,$(SBINDIR),' packaging/ipsec.init.in >$(DESTDIR)$(SYSCONFDIR)/init.d/ipsec
	chmod 0755 $(DESTDIR)$(SYSCONFDIR)/init.d/ipsec
	install -m 0644 packaging/ipsec.conf $(DESTDIR)$(SHAREDIR)/doc/cygnet/ipsec.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/ipsec.conf ] || { \
		install -m 0644 packaging/ipsec.conf $(DESTDIR)$(SYSCONFDIR)/ipsec.conf; \
		install -m 0644 packaging/local.conf $(DESTDIR)$(SYSCONFDIR)/ipsec.d/local.conf; }

clean:
	rm -rf bin
