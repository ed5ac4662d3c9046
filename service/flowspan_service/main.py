"""Wiring: store, servicers, transports and loops, from one Config."""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import structlog

from flowspan_service.api.about import about_service
from flowspan_service.api.backend import assemble
from flowspan_service.api.figures import snapshot
from flowspan_service.api.services import CAPABILITIES
from flowspan_service.api.span_facts import MessageDecoder
from flowspan_service.config import without_secrets
from flowspan_service.domain.errors import ServiceError
from flowspan_service.domain.otlp_receivers import Signal
from flowspan_service.loops.background import running, until_stopped
from flowspan_service.loops.commands import send_open_commands
from flowspan_service.loops.database import watch_database
from flowspan_service.loops.housekeeping import keep_house
from flowspan_service.loops.log_exporter_lifecycle import exporting_logs
from flowspan_service.loops.open_files import watch_open_files
from flowspan_service.loops.otlp_receivers import receivers_of
from flowspan_service.loops.own_telemetry import exporting_metrics, making_own_spans
from flowspan_service.loops.reaper import Reaper
from flowspan_service.loops.span_exporter_lifecycle import exception_signal_of, exporting_spans
from flowspan_service.loops.tokens import keep_tokens, note_last_uses
from flowspan_service.loops.unfinished import finish_unfinished
from flowspan_service.process.clock import SystemClock
from flowspan_service.process.crash_points import crash_point
from flowspan_service.process.errors import EXIT_DATABASE, StartError
from flowspan_service.process.lock import DatabaseLockedError, holding_lock
from flowspan_service.process.logging import set_up_logging
from flowspan_service.process.open_files import raise_limit
from flowspan_service.process.private_files import claim_home, keep_files_private
from flowspan_service.process.published_address import unpublish
from flowspan_service.process.signals import restore_interrupt, stop_on_signals
from flowspan_service.process.standard_streams import complain, log_file
from flowspan_service.process.tuning import tune_collector
from flowspan_service.stores import StoreOpenError, open_store, sqlite_path
from flowspan_service.transports.announcement import announce
from flowspan_service.transports.listening import is_private
from flowspan_service.transports.otlp import OtlpConnections
from flowspan_service.transports.servers import Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from flowspan_service.api.backend import Backend
    from flowspan_service.app.ports import Store
    from flowspan_service.config import Config
    from flowspan_service.process.lock import DatabaseLock

log = structlog.get_logger("flowspan.service")

READERS = 8


def main(config: Config, *, on_ready: Callable[[list[str]], None] | None = None) -> int:
    """Run the service until it is stopped; return the exit code.

    Args:
        config: The settings.
        on_ready: A callback that gets the addresses once the service answers there.
    """
    keep_files_private()
    set_up_logging(level=config.log_level, as_json=config.log_format == "json")
    raise_limit()
    try:
        claim_home(config.home)
        with holding_lock(sqlite_path(config.db), is_embedded=config.is_embedded) as lock:
            on_point = crash_point(config.crash_point, config.crash_at, elsewhere=["before_ack"])
            store = open_store(config.db, clock=SystemClock(), on_point=on_point)
            try:
                asyncio.run(_serve(config, store, lock, on_ready))
            finally:
                restore_interrupt()
                store.close()
    except DatabaseLockedError as error:
        if config.is_embedded and (error.holder is None or error.holder.embedded):
            log.info("another local service started first", error=str(error))
            return 0
        return complain(str(error), error.exit_code)
    except StartError as error:
        return complain(str(error), error.exit_code)
    except StoreOpenError as error:
        return complain(str(error), EXIT_DATABASE)
    except ServiceError as error:
        return complain(f"The service cannot start. {error}", EXIT_DATABASE)
    return 0


async def _serve(
    config: Config,
    store: Store,
    lock: DatabaseLock | None,
    on_ready: Callable[[list[str]], None] | None,
) -> None:
    """Serve until the service is stopped or idle."""
    # First, so that a client which finds the published address can already stop the service.
    stopped = asyncio.Event()
    stop_on_signals(asyncio.get_running_loop(), stopped)
    with ThreadPoolExecutor(READERS, thread_name_prefix="flowspan-read") as readers:
        backend = _backend(config, store, readers)
        await backend.follow_store()
        reaper = Reaper(store, backend.clock, backend.connections, backend.terms)
        await reaper.reap()  # gives each session a full lease from now on
        async with _telemetry(config, store, backend):
            servers = Servers(backend, config)
            addresses = servers.listen()
            await servers.start()
            announce(config, backend.about, lock, addresses)
            tune_collector()
            if on_ready is not None:
                on_ready(addresses)
            try:
                async with running(_loops(backend, reaper, servers)):
                    await until_stopped(
                        stopped,
                        idle_since_us=backend.idle_since_us,
                        monotonic_us=backend.clock.monotonic_us,
                        timeout_s=config.idle_timeout_s,
                    )
            finally:
                unpublish(config.home)
                log.info("stopping")
                await servers.stop()
                await note_last_uses(backend.access_tokens, store)


@contextlib.asynccontextmanager
async def _telemetry(config: Config, store: Store, backend: Backend) -> AsyncIterator[None]:
    """Export spans, logs and metrics during the block, as far as they are configured."""
    environ, version = os.environ, backend.about.version
    receivers = receivers_of(Signal.TRACES, config, environ, is_private=is_private(config))
    connect = OtlpConnections(environ)
    with (
        exporting_spans(
            *(config, store, backend.clock, receivers, MessageDecoder(), connect),
            exceptions=exception_signal_of(backend.log_receivers, environ),
        ) as spans,
        exporting_logs(store, backend.clock, backend.log_receivers, connect),
        making_own_spans(config, environ, connect, version=version) as own_spans,
    ):
        backend.spans_waiting = spans.waiting_count
        if own_spans is not None:
            backend.on_call = own_spans.call
            store.on_write(own_spans.commit)
        take = partial(snapshot, backend)
        async with exporting_metrics(config, environ, connect, take, version=version):
            yield


def _backend(config: Config, store: Store, readers: ThreadPoolExecutor) -> Backend:
    clock = SystemClock()
    location = str(sqlite_path(config.db) or without_secrets(config.db))
    about = about_service(
        config, clock, CAPABILITIES, database_location=location, log_file=log_file(config.home)
    )
    in_store = ["before_commit", "after_commit"]
    on_point = crash_point(config.crash_point, config.crash_at, elsewhere=in_store)
    backend = assemble(config, store, clock, readers=readers, about=about, on_point=on_point)
    backend.log_receivers = receivers_of(
        Signal.LOGS, config, os.environ, is_private=is_private(config)
    )
    return backend


def _loops(backend: Backend, reaper: Reaper, servers: Servers) -> list[Coroutine[None, None, None]]:
    return [
        reaper.run(),
        keep_house(backend.store, backend.clock),
        finish_unfinished(backend.store, under_way=backend.under_way),
        watch_open_files(backend.files),
        watch_database(backend.store, servers.set_problem),
        keep_tokens(backend.access_tokens, backend.store, backend.readers),
        send_open_commands(
            *(backend.store, backend.connections, backend.command_watches, backend.readers)
        ),
    ]
