#!/bin/sh
# test.sh TIMEOUT PACKAGE... runs every test, then those of the named packages
# once more under the race detector where a C compiler allows it. Packages run
# one after another: lab tests measure time and share the machine badly.
set -eu
timeout=$1
shift
go=${GO:-go}

$go test -timeout "$timeout" -p 2 ./...

if ! command -v "${CC:-cc}" >/dev/null 2>&1; then
	echo "test: no C compiler, so no run under the race detector" >&2
	exit 0
fi
present=
for p in "$@"; do
	[ -d "${p%/...}" ] && present="$present $p"
done
# shellcheck disable=SC2086
[ -z "$present" ] || CGO_ENABLED=1 $go test -race -short -timeout "$timeout" $present
