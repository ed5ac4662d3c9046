#!/bin/sh
# Build the programs of the polyglot example with an OpenTelemetry SDK each: build.sh BUILT JAVA TARGET
#
# BUILT: the folder in which the build.sh of the example has built. JAVA: a file with the class path of
# the tests of the Java client. Puts `price`, `render` and `archive` into the folder TARGET.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
built=$1 classpath=$2 target=$3
price=$root/examples/polyglot/price
mkdir -p "$target"

# The SDK is a requirement of the client's tests, and not of the example.
version=$(cd "$root/clients/go" && go list -m -f '{{.Version}}' go.opentelemetry.io/otel/sdk)
cp "$price/go.mod" "$target/price.mod"
sort -u "$price/go.sum" "$root/clients/go/go.sum" >"$target/price.sum"
go mod edit -require="go.opentelemetry.io/otel/sdk@$version" "$target/price.mod"
printf '{"Replace": {"%s": "%s"}}' "$price/sdk.go" "$here/sdk.go" >"$target/overlay.json"
(
    cd "$price"
    go build -mod=mod -modfile="$target/price.mod" -overlay="$target/overlay.json" -o "$target/price" .
)

printf '#!/bin/sh\nNODE_OPTIONS="--import=%s" exec "%s/bin/render" "$@"\n' "$here/sdk.mjs" "$built" >"$target/render"

jars=$built/java/archive/archive.jar:$built/java/archive/lib/*
printf '#!/bin/sh\nexec java -cp "%s:%s" "%s" "$@"\n' "$jars" "$(cat "$classpath")" "$here/Sdk.java" >"$target/archive"
chmod +x "$target/render" "$target/archive"
