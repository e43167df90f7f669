#!/bin/sh
# Installs what the build needs and this machine lacks. Sourced by dev and test; prints what it does.
#
#   clang, libclang-dev   RocksDB's interface is generated from its headers
#   g++                   RocksDB itself is C++
#   make                  the allocator, jemalloc, is built with it
#   ca-certificates       cargo fetches crates over HTTPS
#   curl                  the examples in the README
packages="ca-certificates clang curl g++ libclang-dev make"

if command -v dpkg-query >/dev/null 2>&1; then
    missing=""
    for package in $packages; do
        status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        echo "setup: installing$missing" >&2
        as_root=""
        [ "$(id -u)" = 0 ] || as_root="sudo"
        # Word splitting is meant: one argument per package.
        # shellcheck disable=SC2086
        $as_root apt-get update -q >&2 &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2 || {
            echo "setup: could not install$missing; install them by hand and try again" >&2
            exit 1
        }
    fi
elif ! command -v c++ >/dev/null 2>&1 || ! command -v clang >/dev/null 2>&1; then
    echo "setup: this is no Debian: install a C++ compiler, make, clang and libclang's development files, then try again" >&2
    exit 1
fi

# rustup's installer changes the PATH of new shells only.
command -v cargo >/dev/null 2>&1 || PATH="$HOME/.cargo/bin:$PATH"
export PATH
if ! cargo --version >/dev/null 2>&1; then
    if ! command -v rustup >/dev/null 2>&1; then
        echo "setup: no cargo and no rustup: see https://rustup.rs" >&2
        exit 1
    fi
    echo "setup: installing the stable Rust toolchain" >&2
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy >&2 && rustup default stable >&2
fi
