"""``python -m flowspan_service``."""

from __future__ import annotations

import os
import sys

from flowspan_service import process

if __name__ == "__main__":
    process.prepare()
    # Help and wrong flags are answered before the libraries of the service are loaded.
    from flowspan_service.config import load

    config = load(sys.argv[1:], os.environ)

    from flowspan_service.main import main

    sys.exit(main(config))
