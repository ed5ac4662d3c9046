#!/bin/sh
# Measures the client against the service at FLOWSPAN_ADDRESS: one line of JSON per figure.
set -eu
cd "$(dirname "$0")"
test -d node_modules || npm ci --no-audit --no-fund >&2
npm run --silent build >&2
exec node bench/main.js "$@"
