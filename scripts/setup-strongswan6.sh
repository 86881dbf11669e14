#!/bin/sh
# setup-strongswan6.sh puts strongSwan 6 of Debian's testing suite, which has
# ML-KEM, into a directory of its own: Debian's packages, unpacked by debootstrap
# in a chroot, used by the tests of internal/interop beside the machine's older
# strongSwan. It takes about a minute, once; CYGNET_LAB says where (default
# /opt/cygnet-lab). Nothing in it is started by it.
set -eu

lab=${CYGNET_LAB:-/opt/cygnet-lab}
root=$lab/strongswan6
suite=forky # moves: nothing may depend on the exact version
mirror=${LAB_MIRROR:-http://deb.debian.org/debian}

[ -e "$root/.done" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "setup-strongswan6: not root" >&2; exit 1; }

# /proc and /dev are mounted in a mount namespace that ends with this script.
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare -m sh "$0"
mount --make-rprivate /

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
command -v debootstrap >/dev/null 2>&1 || apt-get -qq -y --no-install-recommends install debootstrap >/dev/null
echo "setup-strongswan6: unpacking Debian $suite into $root" >&2
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
rm -rf "$root"
mkdir -p "$lab"
debootstrap --variant=minbase "$suite" "$root" "$mirror" "$script" >"$lab/debootstrap.log" 2>&1 ||
	{ tail -5 "$lab/debootstrap.log" >&2; exit 1; }
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
chroot "$root" apt-get -qq -y --no-install-recommends install strongswan-charon strongswan-swanctl strongswan-libcharon \
	libcharon-extra-plugins libstrongswan-extra-plugins libstrongswan-standard-plugins >"$lab/install.log" 2>&1 ||
	{ tail -5 "$lab/install.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
touch "$root/.done"
