#!/usr/bin/env bash
# test-prefect.sh PYTHON NAME REQUIREMENT... -- [WORD...]
# Run the programs of tests/migrating on a real Prefect, in its own environment with these
# requirements. WORDs select programs by their paths.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$1 name=$2
shift 2
requirements=()
while [[ $# -gt 0 && $1 != -- ]]; do
    requirements+=("$1")
    shift
done
shift

readonly VENV=.build/prefect-$name
if [[ ! -e $VENV/.installed ]]; then
    "$python" -m venv --clear "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
    touch "$VENV/.installed"
fi
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
# Disable telemetry, and log only critical errors to the terminal.
export PREFECT_HOME=$home PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
export PREFECT_LOGGING_LEVEL=${PREFECT_LOGGING_LEVEL:-CRITICAL}
"$VENV/bin/python" tests/migrating/run.py "$@"
