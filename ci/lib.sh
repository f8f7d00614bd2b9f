# shellcheck shell=bash
# What every script here shares: where things are kept, which cargo is used, how to speak. Sourced, never run.

PX_REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
PX_CACHE="${PX_CACHE:-$HOME/.cache/px}"
# The target folder lies outside the checkout, so that it lasts from one clone to the next.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PX_CACHE/target}"
export PX_REPO PX_CACHE
# The environment with the published Python client; its tests use this interpreter.
export PX_PYTHON="$PX_CACHE/venv/bin/python"
# Tools build with what is installed; none fetches another version of itself.
export GOTOOLCHAIN=local
export PATH="$PX_CACHE/tools/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Runs a command as root: itself where we are root, by sudo elsewhere.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else die "needs root for: $*"; fi
}

# Picks the cargo that builds: rustup's where the pinned toolchain is installed, Debian's elsewhere. Nothing is ever downloaded for it.
choose_cargo() {
    local pinned
    export RUSTUP_AUTO_INSTALL=0
    pinned="$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$PX_REPO/rust-toolchain.toml")"
    for dir in "${CARGO_HOME:-$HOME/.cargo}/bin" /usr/local/cargo/bin; do
        if [ -x "$dir/rustup" ] && "$dir/rustup" run "$pinned" cargo --version >/dev/null 2>&1; then
            export PATH="$dir:$PATH" RUSTUP_TOOLCHAIN="$pinned" PX_CARGO=rustup
            return 0
        fi
    done
    if [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ]; then
        # A rustup without the pinned toolchain stands earlier in PATH and would try to fetch it.
        export PATH="$PX_CACHE/tools/bin:/usr/bin:$PATH" PX_CARGO=debian
        return 0
    fi
    export PX_CARGO=none
    return 1
}

choose_cargo || true
