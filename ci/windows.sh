#!/bin/bash
# The library for 64-bit Windows: built by mingw-w64, unit tests under wine, and a program of
# someone else's that is built with clattn's sources, by CMake and by meson, static and shared: it
# runs to the status that there is no OpenCL, and computes where there is one, this machine's,
# through wine.
# The last line is "N passed, M failed", each test counts; the exit status is 0 only if M is 0.
. "$(dirname "$0")/lib.sh"

build=build-windows
cross=$root/ci/cross/x86_64-w64-mingw32.ini
export PATH=$PATH:/usr/lib/wine WINEPREFIX=$root/$build-wine WINEDEBUG=-all
export WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe='
unset DISPLAY

# A program needs what Windows has, and nothing of the compiler's.
imports() {
    local found
    found=$(x86_64-w64-mingw32-objdump -p "$1" | sed -n 's/.*DLL Name: //p' | sort -u)
    printf '%s needs: %s\n' "$1" "$(tr '\n' ' ' <<<"$found")"
    ! grep -viE '^(kernel32|advapi32|msvcrt|libclattn.*)\.dll$' <<<"$found"
}

# says PROGRAM FOLDER WORDS: what the program has to say, with a DLL of that folder.
says() {
    local got
    got=$(WINEPATH="Z:${2//\//\\}" wine64 "$1" | tr -d '\r')
    printf '%s says: %s\n' "$1" "$got"
    [ "$got" = "$3" ]
}

# The same on a machine without OpenCL, and on one that has it: wine's OpenCL.dll is the library of
# the machine below.
works() {
    WINEDLLOVERRIDES="$WINEDLLOVERRIDES;opencl=" says "$1" "$2" 'no OpenCL library was found 0' &&
        says "$1" "$2" 'success 5'
}

logged() {
    "$@" >"$build/embed.log" 2>&1 || { cat "$build/embed.log"; return 1; }
}

# by_cmake NAME OPTIONS...: with clattn's sources below the project.
by_cmake() {
    local folder=$root/$build/cmake-$1 library
    shift
    logged cmake -G Ninja -S tests/embed/subproject -B "$folder" "$@" \
        -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc \
        -DCLATTN_SOURCE="$root" -DCONSUMER="$root/tests/embed/consumer.c" \
        -DCLATTN_OPENCL_INCLUDE="$root/$build-headers" \
        -DCLATTN_XXHASH_INCLUDE="$root/$build-headers" &&
        logged cmake --build "$folder" &&
        library=$(find "$folder" -name 'libclattn.*' -print -quit) &&
        works "$folder/program.exe" "${library%/*}" && imports "$folder/program.exe"
}

by_meson() {
    local folder=$root/$build/meson
    mkdir -p "$folder/subprojects"
    cp tests/embed/subproject/meson.build tests/embed/consumer.c "$folder"
    ln -sfn "$root" "$folder/subprojects/clattn"
    [ -f "$folder/build/build.ninja" ] ||
        logged meson setup "$folder/build" "$folder" --wrap-mode=forcefallback \
            --cross-file "$cross" -Dc_args="-isystem $root/$build-headers" || return 1
    logged meson compile -C "$folder/build" program &&
        works "$folder/build/program.exe" "$folder/build/subprojects/clattn/src"
}

heading 'Packages'
ci/packages.sh windows
begin_steps
step 'build' foreign_tree "$build" "$cross"
step 'what the library needs' imports "$build/src/libclattn-0.dll"
step 'tests' foreign_tests "$build"
count_tests "$build/meson-logs/testlog.json" || failed=$((failed + 1))
step 'an application by CMake, static' by_cmake static -DBUILD_SHARED_LIBS=OFF
step 'an application by CMake, shared' by_cmake shared -DBUILD_SHARED_LIBS=ON -DFETCH=ON
step 'an application by meson' by_meson
end_steps
