#!/bin/sh
# check.sh: what a change must pass before it is read by people.
set -u
go=${GO:-go}
failed=

step() {
	name=$1
	shift
	echo "== $name"
	"$@" || failed="$failed $name"
}

formatted() {
	wrong=$(gofmt -l $(git ls-files '*.go' 2>/dev/null || find . -name '*.go' -not -path './bin/*'))
	[ -z "$wrong" ] || { echo "not formatted by gofmt:" && echo "$wrong" && return 1; }
}

# Known vulnerabilities fail the check; a database out of reach does not.
vulnerable() {
	out=$($go run "$GOVULNCHECK" ./... 2>&1)
	status=$?
	case $status in
	0) return 0 ;;
	3) echo "$out" && return 1 ;;
	*) echo "govulncheck could not run (exit $status), passed over: $(echo "$out" | tail -n 1)" ;;
	esac
}

step gofmt formatted
step vet $go vet ./...
step arm64 env GOARCH=arm64 $go vet ./...
step staticcheck $go run "$STATICCHECK" ./...
step govulncheck vulnerable
step architecture $go test -count=1 ./internal/archtest

[ -z "$failed" ] || { echo "check failed:$failed" >&2; exit 1; }
echo "check passed"
