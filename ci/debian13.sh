#!/bin/bash
# A Debian 13 in a folder of its own, for implementations of OpenCL newer than this system's: PoCL 6
# and Mesa's rusticl, and what the tests are linked with. Made where it isn't there yet, in
# $CLATTN_MATRIX (clattn-matrix in the user's cache folder), which needs root and downloads; what
# that prints is in debian13.log there. Then COMMAND runs in it, as root, in this repository, which
# has the same path inside, as have the folders named in $CLATTN_BIND, divided by colons.
#
#   ci/debian13.sh [COMMAND...]
. "$(dirname "$0")/lib.sh"

home=${CLATTN_MATRIX:-${XDG_CACHE_HOME:-$HOME/.cache}/clattn-matrix}
system=$home/debian13
packages='ocl-icd-libopencl1 pocl-opencl-icd mesa-opencl-icd libcriterion3 libcjson1 libcairo2'

install_system() {
    ci/packages.sh debian13
    rm -rf "$system"
    debootstrap --variant=minbase trixie "$system"
    cp /etc/resolv.conf /etc/hosts "$system/etc"
    cp /etc/apt/apt.conf.d/*registry* "$system/etc/apt/apt.conf.d" 2>/dev/null || true
    # shellcheck disable=SC2016 # for the shell inside
    unshare -m bash -ec 'mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"
        chroot "$1" apt-get update -q
        DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -y -q \
            --no-install-recommends $2' x "$system" "$packages"
    touch "$system/complete"
}

mkdir -p "$home"
# In a shell of its own: -e has no effect in what stands before ||.
if [ ! -e "$system/complete" ]; then
    (install_system) >"$home/debian13.log" 2>&1 &
    wait $! || { tail -n 30 "$home/debian13.log"; exit 1; }
fi
[ $# -gt 0 ] || exit 0

# In a mount namespace of its own: nothing stays mounted.
# shellcheck disable=SC2016 # for the shell inside
inside='system=$1 tree=$2; shift 2
mount -t proc proc "$system/proc"
mount -t sysfs sys "$system/sys"
mount --bind /dev "$system/dev"
IFS=:
for folder in $tree ${CLATTN_BIND:-}; do
    mkdir -p "$system$folder"
    mount --bind "$folder" "$system$folder"
done
exec chroot "$system" /usr/bin/env -C "$tree" "$@"'
exec unshare -m bash -ec "$inside" x "$system" "$root" "$@"
