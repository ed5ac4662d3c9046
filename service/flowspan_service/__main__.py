"""``python -m flowspan_service``."""

from __future__ import annotations

import os
import sys

from flowspan_service.config import load

if __name__ == "__main__":
    # Help and wrong flags are answered before the libraries of the service are loaded.
    config = load(sys.argv[1:], os.environ)

    from flowspan_service.main import main

    sys.exit(main(config))
