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
