"""Measure the clients in other languages: `make bench-clients`, or `python -m benchmarks.clients`.

Each client has a program `clients/LANGUAGE/bench.sh`, which builds what it needs, reports to the
service at FLOWSPAN_ADDRESS, and prints one line of JSON per figure. Each gets a service of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.collect import ROOT
from benchmarks.environment import clean_environment
from benchmarks.service import running_service


def main() -> int:
    """Run the command line. Return 1 if a program failed."""
    programs = {path.parent.name: path for path in sorted((ROOT / "clients").glob("*/bench.sh"))}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(programs))
    parser.add_argument("--db", help="the database of the service; SQLite if not given")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.languages) - set(programs)):
        parser.error(f"no client has a program for {', '.join(unknown)}")
    failed = False
    for language in arguments.languages or programs:
        with running_service(arguments.db) as service:
            environment = clean_environment(FLOWSPAN_ADDRESS=service.address)
            code = subprocess.call([str(programs[language])], env=environment)
        if code:
            print(f"{language}: the program exited with {code}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
