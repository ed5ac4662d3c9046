#!/bin/sh
# Generates the stubs in flowspanpb from proto/. Needs Go, and buf of the development environment.
set -eu
cd "$(dirname "$0")"
root=../..
tools=$(cd "$root" && pwd)/.build/go-tools
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
rm -f flowspanpb/*.pb.go
PATH=$tools:$PATH "$root/.venv/bin/buf" generate "$root/proto" --template buf.gen.yaml --output .
