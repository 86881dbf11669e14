#!/bin/sh
# fuzz.sh TIME runs every fuzz target of the tree for TIME each.
set -eu
time=$1
go=${GO:-go}
found=0
for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
	dir=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		found=$((found + 1))
		echo "== $dir $target"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir"
	done
done
echo "fuzzed $found targets, $time each"
