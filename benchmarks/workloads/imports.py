"""Import time, in a process that has imported nothing before.

The module does not use `support`, which would import what is measured.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    began = time.perf_counter()
    import flowspan  # noqa: PLC0415 - what is measured

    package_s = time.perf_counter() - began
    from flowspan import flow, task  # noqa: PLC0415 - what is measured

    names_s = time.perf_counter() - began
    assert flow is flowspan.flow
    assert task is flowspan.task
    figures = {"import flowspan": package_s, "from flowspan import flow, task": names_s}
    if "--json" in sys.argv:
        print(json.dumps({"figures": figures, "notes": {}, "void": None}))
        return
    for name, value in figures.items():
        print(f"{name:32} {value:.6g}")


if __name__ == "__main__":
    main()
