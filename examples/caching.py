"""Caching: a result is reused until its input file changes.

    python examples/caching.py

Run it twice: the second run computes nothing. `flowspan run show latest` shows the tasks as
Cached, and `flowspan run show latest --json` shows where their results are stored.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowspan import flow, task
from flowspan.cache_policies import INPUTS, TASK_SOURCE, CacheKeyFnPolicy


def content_of(context: Any, parameters: dict[str, Any]) -> str:
    """Return a key that depends on the content of the file, not on its path."""
    content = Path(parameters["path"]).read_bytes()
    return f"words-{hashlib.sha256(content).hexdigest()[:16]}"


@task(cache_policy=CacheKeyFnPolicy(cache_key_fn=content_of), result_serializer="json")
def count_words(path: Path) -> int:
    """Count the words of a file. The result is stored as JSON, which people can read."""
    print(f"counting {path.name}")
    return len(path.read_text().split())


# The argument `quiet` does not affect the result, so it is not part of the cache key.
@task(cache_policy=INPUTS + TASK_SOURCE - "quiet", cache_expiration=timedelta(days=1))
def share(part: int, whole: int, *, quiet: bool = False) -> float:
    if not quiet:
        print(f"dividing {part} by {whole}")
    return part / whole


@flow
def census(paths: list[Path]) -> dict[str, float]:
    counts = [count_words(path) for path in paths]
    whole = sum(counts)
    return {path.name: share(n, whole) for path, n in zip(paths, counts, strict=True)}


if __name__ == "__main__":
    here = Path(__file__).parent
    files = [here / name for name in ("hello.py", "mapping.py", "caching.py")]
    first = census(files)
    again = census(files)
    assert first == again
    state = count_words(here / "caching.py", return_state=True)
    print(f"{state.name}: {state.result()} words in caching.py, {first['caching.py']:.1%} of all")
