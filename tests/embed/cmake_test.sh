#!/bin/bash
# cmake_test.sh MESON BUILD CONSUMER.c: installs into a temporary folder and builds a CMake project
# against what is there by find_package, with the shared and with the static library, and once more
# after the installed tree has moved; then with other folders than the usual ones.
set -eu
# shellcheck disable=SC2206 # meson may be "python3 meson.py"
meson=($1)
build=$2 consumer=$(realpath "$3")
project=$(realpath "$(dirname "$0")/cmake")
source=$(realpath "$(dirname "$0")/../..")
command -v cmake >/dev/null || { echo 'no cmake here'; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    exit 1
}

# logged COMMAND...: shows the output only where it fails.
logged() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "failed: $*"; }
}

# use WHERE: builds and runs the project with what is installed there; WHERE tells CMake.
use() {
    local way got
    rm -rf "$work/project"
    logged cmake -G Ninja -S "$project" -B "$work/project" -DCONSUMER="$consumer" "$1"
    logged cmake --build "$work/project"
    for way in shared static; do
        got=$(env -u LD_LIBRARY_PATH "$work/project/$way") || fail "$way: exit $?"
        [ "$got" = 'success 5' ] || fail "$way: printed '$got'"
    done
    readelf -d "$work/project/shared" | grep -q 'NEEDED.*libclattn.so.0' ||
        fail 'the shared program does not need libclattn.so.0'
    ! readelf -d "$work/project/static" | grep -q 'NEEDED.*clattn' ||
        fail 'the static program needs libclattn.so'
}

# ask WHERE VERSION yes|no
ask() {
    rm -rf "$work/project"
    logged cmake -G Ninja -S "$project" -B "$work/project" -DASK="$2" "$1"
    grep -q "found: $3\$" "$work/log" ||
        fail "version $2: expected $3, $(grep 'found:' "$work/log")"
}

"${meson[@]}" install -C "$build" --no-rebuild --quiet --destdir "$work/destdir"
config=$(find "$work/destdir" -path '*/cmake/clattn/clattnConfig.cmake')
[ -n "$config" ] || fail 'no clattnConfig.cmake was installed'
! grep -qF "$build" "$config" || fail 'clattnConfig.cmake names the folder of the build'
prefix=$(dirname "$(find "$work/destdir" -path '*/include/clattn' -type d)")
prefix=$(dirname "$prefix")

use "-DCMAKE_PREFIX_PATH=$prefix"
version=$(sed -n 's/^set(PACKAGE_VERSION "\(.*\)")$/\1/p' "${config%.cmake}Version.cmake")
while read -r asked answer; do
    ask "-DCMAKE_PREFIX_PATH=$prefix" "$asked" "$answer"
done <<END
$version yes
$version...99.0 yes
0.0.1...<$version no
0.0.1 no
99.0 no
99.0...100.0 no
END
mv "$prefix" "$work/moved here"
use "-DCMAKE_PREFIX_PATH=$work/moved here"

# Other folders than the usual ones. The files are made when a folder is configured, so nothing
# needs to be compiled again.
logged "${meson[@]}" setup "$work/other" "$source" -Dtests=false -Dtool=false \
    --libdir=lib64/deep --includedir=headers/c
libraries="$work/laid out/lib64/deep"
mkdir -p "$libraries/cmake/clattn" "$work/laid out/headers/c"
cp "$work/other/cmake/"*.cmake "$libraries/cmake/clattn"
find "$build/src" -maxdepth 1 -name 'libclattn.*' ! -type d -exec cp -P {} "$libraries" ';'
cp -R "$source/include/clattn" "$work/laid out/headers/c"
where="-Dclattn_DIR=$libraries/cmake/clattn"
use "$where"
rm "$libraries/libclattn.a"
ask "$where" "$version" no
echo 'installed, found by find_package, linked both ways, moved'
