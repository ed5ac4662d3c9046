"""`python -m flowspan`, which is the same as the `flowspan` command."""

from __future__ import annotations

from flowspan.cli.entry import main

if __name__ == "__main__":
    main()
