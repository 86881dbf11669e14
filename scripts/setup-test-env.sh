#!/bin/sh
# setup-test-env.sh installs what the lab tests use beside Go: strongSwan as
# the foreign peer, iproute2 and ping for people who look at a lab that stands,
# a Linux kernel that runs as a process, scapy as a decoder of packets, and a
# newer strongSwan in a directory of its own (setup-strongswan6.sh), libreswan in
# another (setup-libreswan.sh) with the libraries it wants, name servers with their
# tools, and groff to read the manual pages.
# It does something only as root on a Debian system, and only for packages that
# are missing. No service is started by it.
set -eu

packages="strongswan-charon strongswan-swanctl strongswan-libcharon
 libcharon-extra-plugins libcharon-extauth-plugins libstrongswan-extra-plugins
 libstrongswan-standard-plugins iproute2 iputils-ping util-linux procps
 iperf3 tcpdump ca-certificates groff-base
 user-mode-linux python3-scapy python3-cryptography dnsmasq-base
 unbound nsd ldnsutils bind9-utils
 libnss3-tools libcurl3-nss libevent-core-2.1-7 libevent-pthreads-2.1-7 libldns3
 libunbound8 libcap-ng0 libaudit1 dns-root-data"

missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
lab=${CYGNET_LAB:-/opt/cygnet-lab}
[ -n "$missing" ] || [ ! -e "$lab/strongswan6/.done" ] || [ ! -e "$lab/libreswan/.done" ] || exit 0

complain() {
	echo "setup-test-env: $1; missing:${missing:- nothing but strongSwan 6 or libreswan}" >&2
	[ "${CI:-}" = true ] && exit 1
	echo "setup-test-env: tests that need them will be skipped" >&2
	exit 0
}

command -v apt-get >/dev/null 2>&1 || complain "not a Debian system"
[ "$(id -u)" = 0 ] || complain "not root, so nothing is installed"

[ -z "$missing" ] || echo "setup-test-env: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive

# The lab starts its daemons itself, in namespaces: keep packages from starting
# theirs, unless the machine already has a rule about that.
rule=/usr/sbin/policy-rc.d
if [ ! -e $rule ]; then
	printf '#!/bin/sh\nexit 101\n' >$rule
	chmod +x $rule
	trap 'rm -f $rule' EXIT
fi
apt-get -qq update || complain "apt-get update failed"
# shellcheck disable=SC2086
[ -z "$missing" ] || apt-get -qq -y --no-install-recommends install $missing >/dev/null || complain "apt-get install failed"
"$(dirname "$0")/setup-strongswan6.sh" || complain "strongSwan 6 could not be unpacked"
"$(dirname "$0")/setup-libreswan.sh" || complain "libreswan could not be unpacked"
