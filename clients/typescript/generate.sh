#!/bin/sh
# Generates the stubs of proto/ into a folder: src/gen, or the one given.
#
#   ./generate.sh [FOLDER]
#
# Needs the packages of `npm ci`.
set -eu
cd "$(dirname "$0")"
folder=${1:-src/gen}
rm -rf "$folder"
for source in ../../proto proto; do
    PATH="$PWD/node_modules/.bin:$PATH" buf generate "$source" --template "{
        version: v2,
        plugins: [{local: protoc-gen-es, out: '$folder', opt: [target=ts, import_extension=js]}]
    }"
done
