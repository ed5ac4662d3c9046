#!/usr/bin/env bash
# test-instrumented.sh PYTHON [ARGUMENT...]
# Run tests/instrumented with pytest and these arguments, in an environment with all instrumentations
# of OpenTelemetry that fit flowspan. Exits with 3 if their packages cannot be installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$1
shift

readonly VENV=.build/instrumented LOCK=requirements-instrumented.lock
readonly INSTALLED=$VENV/.installed
if [[ ! -e $INSTALLED || $LOCK -nt $INSTALLED || pyproject.toml -nt $INSTALLED ]]; then
    "$VENV/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$VENV"
    pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
    "${pip[@]}" -r "$LOCK" || { echo "The packages of $LOCK cannot be installed." && exit 3; }
    "${pip[@]}" --no-deps --editable .
    touch "$INSTALLED"
fi
# With the variable, the tests fail without the packages; else they are left out.
exec env FLOWSPAN_TEST_INSTRUMENTED=1 "$VENV/bin/python" -m pytest -n 2 tests/instrumented "$@"
