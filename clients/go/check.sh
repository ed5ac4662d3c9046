#!/bin/sh
# Checks the style of the Go client, its modules and its stubs, and runs its tests with the race
# detector. Arguments are passed on to `go test`.
set -eu
cd "$(dirname "$0")"
build=$(cd ../.. && pwd)/.build
linter=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
test -x "$build/go-tools/golangci-lint" || GOBIN=$build/go-tools go install "$linter"
"$build/go-tools/golangci-lint" run ./...
go mod tidy -diff
./generate.sh "$build/go-gen"
diff -r -q "$build/go-gen/flowspanpb" flowspanpb || {
	echo "The stubs do not match the protos: run clients/go/generate.sh."
	exit 1
}
go test -race -timeout 10m "$@" ./...
