"""``python -m flowspan_service``."""

from __future__ import annotations

import gc
import os
import sys

from flowspan_service.process import standard_streams

if __name__ == "__main__":
    standard_streams.prepare()
    # Help and wrong flags are answered before the libraries of the service are loaded.
    from flowspan_service.config import load

    config = load(sys.argv[1:], os.environ)

    # Half of the time until it is ready, the service loads modules. What they make stays, so the
    # collector would look at it in vain; `main` turns it on again. structlog would load rich for
    # tracebacks that the service writes without it.
    gc.disable()
    sys.modules["rich"] = None  # type: ignore[assignment]
    from flowspan_service.main import main

    del sys.modules["rich"]
    sys.exit(main(config))
