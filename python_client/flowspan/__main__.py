"""`python -m flowspan` is the `flowspan` command."""

from __future__ import annotations

from flowspan.cli.entry import main

if __name__ == "__main__":
    main()
