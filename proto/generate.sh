#!/bin/sh
# Generates the Python stubs of proto/ into a folder.
#
#   proto/generate.sh PYTHON FOLDER
#
# PYTHON has grpcio-tools (the Makefile pins which); FOLDER gets flowspan/v1/ and openapi.json. Files
# of messages alone get no *_pb2_grpc.py: there would be nothing in it. The descriptor set has the
# comments, which the stubs lack; the service's reflection and the OpenAPI document show them.
set -eu
python=$1
folder=$2
rm -rf "$folder"
mkdir -p "$folder"
"$python" -m grpc_tools.protoc -Iproto \
    --python_out="$folder" --pyi_out="$folder" --grpc_python_out="$folder" \
    proto/flowspan/v1/*.proto
"$python" -m grpc_tools.protoc -Iproto --include_source_info \
    --descriptor_set_out="$folder/flowspan/v1/descriptors.binpb" proto/flowspan/v1/*.proto
for file in "$folder"/flowspan/v1/*_pb2_grpc.py; do
    grep -q '^class ' "$file" || rm "$file"
done
"$python" scripts/openapi.py "$folder/flowspan/v1/descriptors.binpb" > "$folder/openapi.json"
