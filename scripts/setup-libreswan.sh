#!/bin/sh
# setup-libreswan.sh unpacks Debian's package libreswan into a directory of its
# own, for the tests of internal/uml: installed, it would put strongSwan's
# packages out. CYGNET_LAB says where (default /opt/cygnet-lab). A second's work,
# once; nothing in it is started by it.
set -eu

lab=${CYGNET_LAB:-/opt/cygnet-lab}
root=$lab/libreswan

[ -e "$root/.done" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "setup-libreswan: not root" >&2; exit 1; }

echo "setup-libreswan: unpacking libreswan into $root" >&2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chown _apt "$tmp" # apt-get fetches as that user
(cd "$tmp" && apt-get -qq download libreswan)
rm -rf "$root"
mkdir -p "$root"
dpkg -x "$tmp"/libreswan_*.deb "$root"
touch "$root/.done"
