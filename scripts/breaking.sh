#!/usr/bin/env bash
# Fails if the contract breaks callers of the previous main. What is compared with: $BREAKING_AGAINST, or else origin/main where
# it differs from HEAD, or else (on main itself) the state before the last commit that touched protos/.
set -euo pipefail
cd "$(dirname "$0")/.."
buf=${BUF:-buf}
base=${BREAKING_AGAINST:-}
if [[ -z "$base" ]] && main=$(git rev-parse --quiet --verify origin/main) && [[ "$main" != "$(git rev-parse HEAD)" ]]; then
  base=$main
fi
if [[ -z "$base" ]]; then
  last=$(git rev-list -1 HEAD -- protos 2>/dev/null || true)
  base=$(git rev-parse --quiet --verify "${last:-none}^" || true)
fi
if [[ -z "$base" ]] || ! git cat-file -e "$base:buf.yaml" 2>/dev/null; then
  echo "breaking changes: nothing to compare with, this is the contract's first version"
  exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git archive "$base" buf.yaml protos third_party | tar -x -C "$scratch"
"$buf" breaking --against "$scratch"
echo "no breaking change against $(git rev-parse --short "$base")"
