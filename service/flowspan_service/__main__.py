"""``python -m flowspan_service``."""

from __future__ import annotations

import os
import sys

from flowspan_service.process.signals import end_at_once_on_signals
from flowspan_service.process.standard_streams import replace_closed_streams
from flowspan_service.process.tuning import pause_collector

if __name__ == "__main__":
    end_at_once_on_signals()
    replace_closed_streams()
    # Help and wrong flags are answered before the libraries of the service are loaded.
    from flowspan_service.config import load

    config = load(sys.argv[1:], os.environ)

    # Half of the start-up time goes into imports; `main` turns the collector on again. structlog
    # would import rich for tracebacks, which the service writes without it.
    pause_collector()
    sys.modules["rich"] = None  # type: ignore[assignment]
    from flowspan_service.main import main

    del sys.modules["rich"]
    sys.exit(main(config))
