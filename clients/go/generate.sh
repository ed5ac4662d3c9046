#!/bin/sh
# Generates the stubs from proto/ into the folder flowspanpb, here or in another folder. Needs Go, and
# buf of the development environment.
#
#   ./generate.sh [FOLDER]
set -eu
cd "$(dirname "$0")"
root=../..
folder=${1:-.}
tools=$(cd "$root" && pwd)/.build/go-tools
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
mkdir -p "$folder"
rm -f "$folder"/flowspanpb/*.pb.go
PATH=$tools:$PATH "$root/.venv/bin/buf" generate "$root/proto" --template buf.gen.yaml --output "$folder"
