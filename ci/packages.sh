#!/bin/bash
# Installs the packages that are missing: `ci/packages.sh` for building and the demonstration,
# `ci/packages.sh test` for the tests as well, `ci/packages.sh windows` (aarch64, debian13, musl,
# i686, matrix, static, venv) for the scripts that need them; several groups may be named. On Debian
# and Ubuntu; elsewhere it names what is missing.
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
test  command git             git
test  command g++             g++
test  command cmake           cmake
test  command clang           clang
test  command clang-format    clang-format
test  command clang-tidy      clang-tidy
test  command valgrind        valgrind
test  command oclgrind        oclgrind
windows command cmake                     cmake
windows command x86_64-w64-mingw32-gcc    gcc-mingw-w64-x86-64-win32
windows file    /usr/lib/wine/wine64      wine64
aarch64 command aarch64-linux-gnu-gcc     gcc-aarch64-linux-gnu
aarch64 file    /usr/aarch64-linux-gnu/include/stdio.h libc6-dev-arm64-cross
aarch64 command qemu-aarch64-static       qemu-user-static
musl    command musl-gcc                  musl-tools
i686    command i686-linux-gnu-gcc        gcc-i686-linux-gnu
i686    file    /usr/i686-linux-gnu/include/stdio.h libc6-dev-i386-cross
static  command clang-19                  clang-19
static  command clang-15                  clang-15
static  command llvm-spirv-15             llvm-spirv-15
static  command spirv-val                 spirv-tools
static  library libigc.so                 libigc1
static  library libigdfcl.so              libigdfcl1
static  library libigdgmm.so              libigdgmm12
static  library libopencl-clang.so        libopencl-clang14
static  python  pip                       python3-pip
matrix  command oclgrind                  oclgrind
debian13 command debootstrap             debootstrap
matrix  python  pip                       python3-pip
matrix  python  ensurepip                 python3-venv
venv    python  ensurepip                 python3-venv
'

is_there() {
    local kind=$1 name=$2
    case $kind in
    command) command -v "$name" >/dev/null ;;
    python) command -v python3 >/dev/null && python3 -m "$name" --version >/dev/null 2>&1 ;;
    module) command -v pkg-config >/dev/null && pkg-config --exists "$name" ;;
    header) command -v gcc >/dev/null &&
        echo "#include <$name>" | gcc -fsyntax-only -xc - 2>/dev/null ;;
    file) [ -e "$name" ] ;;
    library) PATH=$PATH:/sbin ldconfig -p | grep -q "$name" ;;
    driver) [ -n "${OCL_ICD_VENDORS:-}" ] || compgen -G "/etc/OpenCL/vendors/$name" >/dev/null ;;
    esac
}

# missing GROUP...: prints "kind name package" for what they lack.
missing() {
    local when kind name package
    while read -r when kind name package; do
        [ -n "$when" ] || continue
        [[ " build $* " = *" $when "* ]] || continue
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

for group; do
    grep -q "^$group " <<<"$packages" || { echo "packages.sh: $group: no such group" >&2; exit 2; }
done
lacking=$(missing "$@")
if [ -n "$lacking" ] && command -v apt-get >/dev/null; then
    # shellcheck disable=SC2046 # one word a package
    install $(awk '{ print $3 }' <<<"$lacking")
    lacking=$(missing "$@")
fi
if [ -n "$lacking" ]; then
    echo 'Missing on this system (what, and the name of the Debian package that has it):' >&2
    awk '{ printf "  %-8s %-18s %s\n", $1, $2, $3 }' <<<"$lacking" >&2
    exit 1
fi

if [[ " $* " = *' test '* ]]; then
    version=$(clang-format --version | grep -oE '[0-9]+' | head -1)
    [ "$version" = 14 ] ||
        echo "note: format and static checks are those of clang 14, found $version"
fi
