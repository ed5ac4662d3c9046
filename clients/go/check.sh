#!/bin/sh
# Checks the style of the Go client, its modules and its stubs, and runs its tests with the race
# detector. Arguments are passed on to `go test`.
set -eu
cd "$(dirname "$0")"
tools=$(cd ../.. && pwd)/.build/go-tools
linter=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
test -x "$tools/golangci-lint" || GOBIN=$tools go install "$linter"
"$tools/golangci-lint" run ./...
go mod tidy -diff
go test -race -timeout 10m "$@" ./...
