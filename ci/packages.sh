#!/bin/bash
# Installs the packages that are missing: `ci/packages.sh` for building and the demonstration,
# `ci/packages.sh test` for the tests as well. On Debian and Ubuntu; elsewhere it names what is
# missing.
. "$(dirname "$0")/lib.sh"

# when needed, how to see that it is there, Debian's package. One line each.
packages='
build command gcc             gcc
build header  stdio.h         libc6-dev
build command pkg-config      pkg-config
build command meson           meson
build command ninja           ninja-build
build command python3         python3
build header  CL/cl.h         opencl-headers
build library libOpenCL.so.1  ocl-icd-libopencl1
build driver  *.icd           pocl-opencl-icd
build module  libxxhash       libxxhash-dev
build module  libcjson        libcjson-dev
build module  cairo           libcairo2-dev
build module  criterion       libcriterion-dev
test  command g++             g++
test  command cmake           cmake
test  command clang           clang
test  command clang-format    clang-format
test  command clang-tidy      clang-tidy
test  command valgrind        valgrind
test  command oclgrind        oclgrind
'

is_there() {
    local kind=$1 name=$2
    case $kind in
    command) command -v "$name" >/dev/null ;;
    module) command -v pkg-config >/dev/null && pkg-config --exists "$name" ;;
    header) command -v gcc >/dev/null &&
        echo "#include <$name>" | gcc -fsyntax-only -xc - 2>/dev/null ;;
    library) PATH=$PATH:/sbin ldconfig -p | grep -q "$name" ;;
    driver) [ -n "${OCL_ICD_VENDORS:-}" ] || compgen -G "/etc/OpenCL/vendors/$name" >/dev/null ;;
    esac
}

# Prints "kind name package" for what the given profile lacks.
missing() {
    local profile=$1 when kind name package
    while read -r when kind name package; do
        [ -n "$when" ] || continue
        [ "$when" = build ] || [ "$profile" = test ] || continue
        is_there "$kind" "$name" || printf '%s %s %s\n' "$kind" "$name" "$package"
    done <<<"$packages"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

install() {
    local log
    log=$(mktemp)
    printf 'installing: %s\n' "$*"
    # The package lists may be absent or older than the archive: then once more, with new lists.
    apt_install "$@" </dev/null >"$log" 2>&1 ||
        { as_root apt-get update -q </dev/null >>"$log" 2>&1 &&
            apt_install "$@" </dev/null >>"$log" 2>&1; } ||
        { cat "$log"; rm -f "$log"; return 1; }
    rm -f "$log"
}

profile=${1:-build}
lacking=$(missing "$profile")
if [ -n "$lacking" ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2046 # one word a package
    install $(awk '{ print $3 }' <<<"$lacking")
    lacking=$(missing "$profile")
fi
if [ -n "$lacking" ]; then
    echo 'Missing on this system (what, and the name of the Debian package that has it):' >&2
    awk '{ printf "  %-8s %-18s %s\n", $1, $2, $3 }' <<<"$lacking" >&2
    exit 1
fi

if [ "$profile" = test ]; then
    version=$(clang-format --version | grep -oE '[0-9]+' | head -1)
    [ "$version" = 14 ] ||
        echo "note: format and static checks are those of clang 14, found $version"
fi
