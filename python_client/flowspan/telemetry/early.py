"""Spans of start-up code, recorded before the first run decides where spans go.

OpenTelemetry accepts a global provider only once. If flowspan installed its own when it is
imported, a program that installs one afterwards would be refused. So until the first run, flowspan
stands in for the missing provider instead: tracers that have none (`ProxyTracer`, also those that
libraries took before) use a provisional one. As soon as the program installs a provider, they use
that. The first run installs the provisional provider if there is still no other.

The API of OpenTelemetry has no place for this. So `ProxyTracer._tracer` is replaced, which releases
1.36 to 1.45 have alike; if a release differs, start-up code is not traced.
"""

from __future__ import annotations

import inspect
import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import ProxyTracer, Tracer, TracerProvider

_ATTRIBUTE = "_tracer"
_PROVIDER = "_TRACER_PROVIDER"
_ARGUMENTS = (
    "_instrumenting_module_name",
    "_instrumenting_library_version",
    "_schema_url",
    "_attributes",
)
"""The arguments of `get_tracer`, as attributes of a proxy."""

_installed: StandIn | None = None


class StandIn:
    """The property of proxies that supplies their tracer.

    Args:
        make: Returns the provisional provider; None if nothing should be recorded. It is called
            once, for the first span.
        original: The property of OpenTelemetry.
    """

    def __init__(self, make: Callable[[], TracerProvider | None], original: property) -> None:
        self.original = original
        self._make = make
        self._lock = threading.RLock()
        self._is_made = False
        self._provider: TracerProvider | None = None
        self._tracers: WeakKeyDictionary[ProxyTracer, Tracer] = WeakKeyDictionary()

    def renew_lock(self) -> None:
        """Replace the lock in a forked child, in which its holder does not exist."""
        self._lock = threading.RLock()

    def provider(self) -> TracerProvider | None:
        """Return the provisional provider; create it at the first call."""
        with self._lock:
            if not self._is_made:
                # Set first: spans of libraries that `make` calls must not ask again.
                self._is_made = True
                self._provider = self._make()
            return self._provider

    def made(self) -> TracerProvider | None:
        """Return the provisional provider if it exists."""
        with self._lock:
            return self._provider

    def tracer(self, proxy: ProxyTracer) -> Any:
        """Return the tracer of a proxy."""
        if getattr(trace, _PROVIDER) is None:
            found = self._tracers.get(proxy)
            if found is not None:
                return found
            provider = self.provider()
            if provider is not None:
                found = provider.get_tracer(*(getattr(proxy, name) for name in _ARGUMENTS))
                self._tracers[proxy] = found
                return found
        return self.original.__get__(proxy)


def stand_in(make: Callable[[], TracerProvider | None]) -> bool:
    """Stand in for the missing provider until `leave`.

    Args:
        make: Returns the provisional provider; None if nothing should be recorded. It is called
            once, when a proxy starts its first span.

    Returns:
        False if the program has a provider, or if OpenTelemetry is not as expected.
    """
    global _installed  # noqa: PLW0603 - one per process
    if _installed is not None:
        return True
    original = trace.ProxyTracer.__dict__.get(_ATTRIBUTE)
    if not isinstance(original, property) or not _is_as_expected():
        return False
    _installed = StandIn(make, original)
    setattr(trace.ProxyTracer, _ATTRIBUTE, property(_installed.tracer))
    return True


def provisional() -> TracerProvider | None:
    """Return the provisional provider; None if it has recorded nothing."""
    return None if _installed is None else _installed.made()


def leave() -> None:
    """Stop standing in. Proxies use the global provider from now on."""
    global _installed  # noqa: PLW0603 - one per process
    if _installed is not None:
        setattr(trace.ProxyTracer, _ATTRIBUTE, _installed.original)
        _installed = None


def _is_as_expected() -> bool:
    """Return True if there is no provider, and proxies have the parts that `StandIn` uses."""
    if getattr(trace, _PROVIDER, trace) is not None:
        return False
    try:
        proxy = trace.ProxyTracer("flowspan.telemetry")
        known = inspect.signature(trace.TracerProvider.get_tracer).parameters
    except (TypeError, ValueError):
        return False
    return len(known) == len(_ARGUMENTS) + 1 and all(hasattr(proxy, name) for name in _ARGUMENTS)


def _after_fork() -> None:
    if _installed is not None:
        _installed.renew_lock()


os.register_at_fork(after_in_child=_after_fork)
