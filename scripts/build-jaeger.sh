#!/usr/bin/env bash
# Find a Jaeger (v2), or build one with Go, and print the path of the program.
#
#   scripts/build-jaeger.sh [TARGET]      TARGET: the program to build, by default .build/jaeger
#
# Search order: $FLOWSPAN_TEST_JAEGER, TARGET, `jaeger` on the PATH.
# Build: first the commit of v2.20.0; if the module proxy does not have it, cmd/jaeger of the last
# tagged module (v1.76.0, which is Jaeger v2.13). A build takes minutes and about 3 GB in Go's cache.
# Every module is verified, by the checksum database or by Jaeger's own go.sum.
#
# Exit code 3: neither a Jaeger nor a Go to build one.
set -euo pipefail

readonly module=github.com/jaegertracing/jaeger
readonly commit=798e4b0fcf22609e381df764a01461affd813e1e
readonly version=v1.76.0

root=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$root/.build/jaeger}

say() { echo "build-jaeger: $*" >&2; }

found() {
    if [[ -n ${FLOWSPAN_TEST_JAEGER:-} ]]; then
        [[ -x $FLOWSPAN_TEST_JAEGER ]] || { say "FLOWSPAN_TEST_JAEGER=$FLOWSPAN_TEST_JAEGER is not executable"; exit 1; }
        echo "$FLOWSPAN_TEST_JAEGER"
    elif [[ -x $target ]]; then
        echo "$target"
    else
        command -v jaeger
    fi
}

# `go install NAME@COMMIT` needs a module without replace directives, like the newer one.
install_commit() {
    GOBIN=$work nice go install "$module/cmd/jaeger@$commit"
}

# The older one is built as a dependency of a temporary module, which copies Jaeger's requirements,
# replacements and go.sum.
build_version() {
    local source
    go mod download "$module@$version"
    source=$(go env GOMODCACHE)/$module@$version
    mkdir "$work/module"
    cd "$work/module"
    sed 's|^module .*|module flowspan.test/jaeger|' "$source/go.mod" > go.mod
    cp "$source/go.sum" go.sum
    chmod u+w go.mod go.sum
    go mod edit -require="$module@$version"
    go mod download "$module@$version" # adds its checksum, which its own go.sum cannot contain
    nice go build -trimpath -o "$work/jaeger" "$module/cmd/jaeger"
}

if found; then
    exit
fi
if ! command -v go > /dev/null; then
    say "there is neither a Jaeger here nor a Go to build one"
    exit 3
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building Jaeger, which takes minutes"
if ! install_commit 2> "$work/log"; then
    say "cannot build the commit ($(tail -n 1 "$work/log")); building $version"
    (build_version) >&2
fi
mkdir -p "$(dirname "$target")"
mv "$work/jaeger" "$target"
echo "$target"
