# What the scripts in ci/ share: where the repository is, headings, and the build. To be sourced.

set -eu
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

heading() {
    printf '\n== %s\n' "$*"
}

# build_tree FOLDER [meson options]: configures where needed, then compiles. The log is shown only
# where something fails.
build_tree() {
    local folder=$1
    shift
    mkdir -p "$folder"
    local log=$folder/build.log
    if [ -f "$folder/build.ninja" ]; then
        [ $# -eq 0 ] || meson configure "$folder" "$@"
    else
        meson setup "$folder" "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
    fi
    meson compile -C "$folder" >"$log" 2>&1 || { cat "$log"; return 1; }
    printf 'built in %s\n' "$folder"
}

# thread_tree TARGET...: builds these alone, for ThreadSanitizer.
thread_tree() {
    local folder=build-thread
    mkdir -p "$folder"
    [ -f "$folder/build.ninja" ] ||
        meson setup "$folder" -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized \
            >"$folder/build.log" 2>&1 || { cat "$folder/build.log"; return 1; }
    meson compile -C "$folder" "$@" >"$folder/build.log" 2>&1 ||
        { cat "$folder/build.log"; return 1; }
}

# with_thread_sanitizer COMMAND...: which ends with an error on any race in clattn.
with_thread_sanitizer() {
    local options="ignore_noninstrumented_modules=1 halt_on_error=1"
    TSAN_OPTIONS="suppressions=$root/ci/tsan.supp $options" "$@"
}

# step NAME COMMAND...: runs it and counts it. begin_steps comes first, end_steps last, which prints
# "N passed, M failed" and says whether M is 0.
begin_steps() {
    passed=0
    failed=0
    failures=''
}

step() {
    local name=$1 start=$SECONDS
    shift
    heading "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf '%s: ok, %s s\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        failures+="  $name"$'\n'
        printf '%s: FAILED, %s s\n' "$name" $((SECONDS - start))
    fi
}

# Adds what the single tests of a run of meson's counted: see ci/count_tests.py.
count_tests() {
    local result
    result=$(python3 ci/count_tests.py "$1") || return 1
    # shellcheck disable=SC2086 # two numbers
    set -- $result
    passed=$((passed + $1))
    failed=$((failed + $2))
    printf '%s passed, %s failed\n' "$1" "$2"
}

end_steps() {
    [ -z "$failures" ] || printf '\nFailed:\n%s' "$failures"
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

# foreign_tree FOLDER CROSS_FILE: builds library and unit tests for another system. Headers that are
# of no system are shown to its compiler in a folder of their own.
foreign_tree() {
    local folder=$1 cross=$2
    mkdir -p "$folder-headers"
    ln -sfn /usr/include/CL "$folder-headers/CL"
    ln -sfn /usr/include/xxhash.h "$folder-headers/xxhash.h"
    if [ -f "$folder/build.ninja" ]; then
        build_tree "$folder"
    else
        build_tree "$folder" --cross-file "$cross" -Dc_args="-isystem $root/$folder-headers" \
            -Dplain_tests=true -Dtool=false -Dwerror=true -Doptimization=1
    fi
}

# foreign_tests FOLDER: runs them all, and counts each.
foreign_tests() {
    rm -f "$1/meson-logs/testlog.json"
    meson test -C "$1" --no-rebuild --print-errorlogs --quiet --timeout-multiplier 10
}
