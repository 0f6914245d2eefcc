#!/bin/bash
# install_test.sh MESON BUILD CONSUMER.c: installs into a temporary folder and builds a program
# against what is there, by pkg-config alone, with the shared and with the static library. Where the
# tool was built, it has to find the installed library by itself.
set -eu
build=$2 consumer=$3
headers=$(realpath "$(dirname "$0")/../../include/clattn")
# shellcheck disable=SC2206 # meson may be "python3 meson.py"
meson=($1)
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

"${meson[@]}" install -C "$build" --no-rebuild --quiet --destdir "$prefix/destdir"
pc=$(find "$prefix/destdir" -name clattn.pc)
[ -n "$pc" ] || { echo 'no clattn.pc was installed'; exit 1; }
# Packages of the system are out of sight: a program needs none of them.
export PKG_CONFIG_LIBDIR PKG_CONFIG_PATH='' PKG_CONFIG_SYSROOT_DIR=$prefix/destdir
PKG_CONFIG_LIBDIR=$(dirname "$pc")
libraries=$(dirname "$PKG_CONFIG_LIBDIR")
cp "$consumer" "$prefix/program.c"
cd "$prefix"

flags() {
    pkg-config "$@" clattn
}

expect() {
    local got
    got=$(env "$@")
    [ "$got" = "$expected" ] || { echo "$*: printed '$got', expected '$expected'"; exit 1; }
}

# shellcheck disable=SC2046 # flags are words
cc -std=c11 -Wall -Wextra -Werror program.c -o shared $(flags --cflags) $(flags --libs)
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Werror program.c -o static $(flags --cflags) \
    "$libraries/libclattn.a" $(flags --static --libs-only-other) -lm -lpthread -ldl
if readelf -d static | grep -q 'NEEDED.*clattn'; then
    echo 'the static program needs libclattn.so'
    exit 1
fi

expected='success 5'
expect LD_LIBRARY_PATH="$libraries" ./shared
expect ./static
expected='no OpenCL library was found 0'
expect LD_LIBRARY_PATH="$libraries" CLATTN_OPENCL_LIBRARY=/nonexistent ./shared
expect CLATTN_OPENCL_LIBRARY=/nonexistent ./static

for header in "$headers"/*.h; do
    installed=include/clattn/$(basename "$header")
    cmp -s "$header" "$(find "$prefix/destdir" -path "*/$installed")" ||
        { echo "$installed was not installed"; exit 1; }
done
if [ -e "$build/src/tool/clattn" ]; then
    tool=$(find "$prefix/destdir" -path '*/bin/clattn')
    [ -x "$tool" ] || { echo 'bin/clattn was not installed'; exit 1; }
    library=$(env -u LD_LIBRARY_PATH ldd "$tool" | awk '/libclattn/ { print $3 }')
    case $(realpath "$library") in
    "$(realpath "$prefix")"/*) ;;
    *) echo "the installed clattn uses '$library'"; exit 1 ;;
    esac
    expected=$("$build/src/tool/clattn" version)
    expect -u LD_LIBRARY_PATH "$tool" version
fi
echo 'installed, found by pkg-config, linked both ways'
