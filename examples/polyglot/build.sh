#!/bin/sh
# Build the programs of this example, with the clients of this repository:
#
#   build.sh [go] [typescript] [java]     without arguments: all
#
# Puts `price`, `render` and `archive` into .build/polyglot/bin (or $POLYGLOT_BUILD/bin). Leaves out a
# language whose tools are missing, and says so. Builds only what has changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
built=${POLYGLOT_BUILD:-$root/.build/polyglot}

say() { echo "build.sh: $*" >&2; }

# has TOOL PROGRAM ADVICE: report whether a tool is installed; if not, say which program is left out.
has() {
    command -v "$1" >/dev/null && return
    say "$1 is not installed, so the chain ends before \`$2\`. $3"
    rm -f "$built/bin/$2"
    return 1
}

# is_newer TARGET SOURCE...: succeed if the target exists and no source was changed after it.
is_newer() {
    target=$1
    shift
    test -e "$target" && test -z "$(find "$@" -newer "$target" -type f -print -quit)"
}

# launcher NAME COMMAND...: make the program `NAME`, which runs a command under its own name in traces.
launcher() {
    name=$1
    shift
    mkdir -p "$built/bin"
    {
        printf '#!/bin/sh\nOTEL_SERVICE_NAME=%s exec' "$name"
        printf " '%s'" "$@"
        printf ' "$@"\n'
    } >"$built/bin/.$name"
    chmod +x "$built/bin/.$name"
    mv "$built/bin/.$name" "$built/bin/$name"
}

build_go() {
    has go price "It needs Go 1.26 or newer: https://go.dev/dl" || return 0
    (cd "$here/price" && go build -o "$built/go/price" .)
    launcher price "$built/go/price"
}

build_typescript() {
    has npm render "It needs Node 20.19 or newer: https://nodejs.org" || return 0
    client=$root/clients/typescript
    (
        cd "$client"
        is_newer node_modules/.package-lock.json package-lock.json || npm ci --silent --no-audit --no-fund
        is_newer dist/index.js src package.json tsconfig.build.json || npm run --silent build
        cd "$here/render"
        is_newer node_modules/.package-lock.json package-lock.json || npm ci --silent --no-audit --no-fund
    )
    tsx=$here/render/node_modules/tsx/dist/esm/index.mjs
    launcher render node --import "$tsx" "$here/render/render.ts"
}

build_java() {
    has java archive "It needs Java 17 or newer: https://adoptium.net" || return 0
    client=$root/clients/java
    # The client is not released yet: it gets a repository of its own, before the one of this user.
    installed=$built/java/repository/dev/flowspan/flowspan-client/maven-metadata-local.xml
    maven() {
        "$client/mvnw" --quiet --batch-mode -Dmaven.repo.local="$built/java/repository" \
            -Dmaven.repo.local.tail="${MAVEN_REPOSITORY:-$HOME/.m2/repository}" "$@"
    }
    if ! is_newer "$installed" "$client/client/src" "$client/client/pom.xml" "$client/pom.xml" "$root/proto"; then
        (cd "$client" && maven --projects client --also-make install -DskipTests -Dmaven.javadoc.skip=true -Dspotless.check.skip=true)
    fi
    if ! is_newer "$built/java/archive/archive.jar" "$here/archive" "$installed"; then
        maven --file "$here/archive/pom.xml" package "-Dbuilt=$built/java/archive"
    fi
    launcher archive java -cp "$built/java/archive/archive.jar:$built/java/archive/lib/*" \
        dev.flowspan.examples.polyglot.Archive
}

test $# -gt 0 || set -- go typescript java
for language in "$@"; do
    case $language in
        go | typescript | java) ;;
        *)
            say "\`$language\` is none of go, typescript and java"
            exit 2
            ;;
    esac
done
mkdir -p "$built"
for language in "$@"; do
    "build_$language"
done
