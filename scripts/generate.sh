#!/usr/bin/env bash
# Generates what is made from protos/: typed stubs for the client, validation rules for the services.
# With --check it changes nothing and fails if what is committed differs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
stubs=clients/python/wanworker/v1
rules=services/wanworker/runtime/protos.binpb
grpc_files=(wanworker/v1/enhancer.proto wanworker/v1/generator.proto wanworker/v1/gateway.proto)

generate() { # $1: the folder to write the same tree into
  mkdir -p "$1/clients/python" "$1/$(dirname "$rules")"
  "$bin/buf" generate --output "$1" 2>"$scratch/log" || { cat "$scratch/log" >&2; return 1; }
  "$bin/buf" build --path protos/wanworker --exclude-source-info --as-file-descriptor-set -o "$1/$rules"
  # With source info, since the comments become docstrings.
  "$bin/buf" build --path protos/wanworker -o "$scratch/with_comments.binpb"
  .venv-proto/bin/python -m grpc_tools.protoc --descriptor_set_in="$scratch/with_comments.binpb" \
    --grpc_python_out="$1/clients/python" "${grpc_files[@]}"
  rm -f "$1/$stubs/types_pb2_grpc.pyi" # types.proto has no service
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ "${1:-}" != --check ]]; then
  generate .
  exit
fi
generate "$scratch/tree"
for file in $(cd "$scratch/tree" && find . -type f); do
  cmp -s "$scratch/tree/$file" "$file" || { echo "stale: $file (run 'make proto' and commit)" >&2; stale=1; }
done
[[ -z "${stale:-}" ]] && echo "generated files are fresh"
