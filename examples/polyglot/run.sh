#!/bin/sh
# Build the programs of this example, and run an order through them:
#
#   run.sh [ORDER.json] [--tape SECONDS]
#
# --tape makes the archive wait, so that there is time to cancel.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
built=${POLYGLOT_BUILD:-$root/.build/polyglot}
python=$root/.venv/bin/python
test -x "$python" || python=python3
"$python" -c 'import flowspan' || {
    echo "run.sh: $python has no flowspan. Run \`make setup\`, or \`pip install .\` in $root." >&2
    exit 1
}
"$here/build.sh"
export PATH="$built/bin:$PATH" OTEL_SERVICE_NAME=order
export ARCHIVE_FOLDER="${ARCHIVE_FOLDER:-$built/archive}"
exec "$python" "$here/order.py" "$@"
