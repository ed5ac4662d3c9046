"""The backend of the servicers: the store and what belongs to it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from flowspan_service.adapters.command_watches import CommandWatches
from flowspan_service.adapters.commit_notifier import CommitNotifier
from flowspan_service.adapters.connected_sessions import ConnectedSessions
from flowspan_service.api.calls.authorization import Authorization
from flowspan_service.api.calls.parsing import Parsing
from flowspan_service.api.fields.page_tokens import PageTokens
from flowspan_service.app.feeds import PAUSE_S, Feeds
from flowspan_service.app.known_tokens import KnownTokens
from flowspan_service.app.sessions import LeaseTerms
from flowspan_service.domain.errors import StoppingError
from flowspan_service.domain.ids import IdSource
from flowspan_service.domain.otlp_receivers import Receivers, Signal
from flowspan_service.metrics.calls import Calls
from flowspan_service.metrics.ended_runs import EndedRuns
from flowspan_service.metrics.writes import Writes
from flowspan_service.process.open_files import OpenFiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from flowspan_service.api.about import About
    from flowspan_service.app.ports import Clock, Mark, Operation, Store
    from flowspan_service.config import Config

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(slots=True)
class Activity:
    """The use of the service and its counters. For the event loop's thread only."""

    last_call_us: int
    """The time of the last call, on the monotonic clock."""
    open_calls: int = 0
    batch_count: int = 0
    """Batches of events that arrived."""
    committed_transition_count: int = 0
    queued_bytes: int = 0
    """Reported bytes that wait for their commit."""
    database_problem: str = ""
    """The reason why the database cannot be used; empty if it can."""
    calls: Calls = field(default_factory=Calls)


class CallListener(Protocol):
    """A callback for calls that ended."""

    def __call__(
        self, *, path: str, code: str, traceparent: str, began_ns: int, ended_ns: int
    ) -> None:
        """Note a call. Must return at once.

        Args:
            path: The path of the method: "/flowspan.v1.FlowService/GetFlow".
            code: The canonical code of the answer: "OK".
            traceparent: The W3C traceparent that the caller sent; empty if none.
            began_ns: The begin of the call, in nanoseconds since 1970 UTC.
            ended_ns: Its end.
        """
        ...


def _unknown() -> None:
    return None


@dataclass(slots=True, kw_only=True)
class Backend:
    """The backend of the servicers.

    Attributes:
        store: The store.
        clock: The time.
        readers: Threads for reads, which block.
        terms: The leases of sessions.
        notifier: Notifies watchers of commits.
        feeds: The changes of trees, read once for all their watchers.
        connections: The connected sessions.
        command_watches: The calls that wait for commands of sessions without a connection.
        about: Facts about the service.
        activity: The use of the service.
        files: The number of open files and its limit.
        parsing: The thread that parses large requests.
        under_way: The runs that calls are deleting or cancelling, with their trees.
        new_id: Makes ids of runs and artifacts that come without one. For the event loop's thread.
        stopping: Set when the service stops.
        page_tokens: The page and resume tokens of the database.
        access_tokens: The access tokens of the database.
        access: The authorization of calls.
        ended_runs: Counts the runs that end.
        writes: Counts the transactions.
        spans_waiting: Returns the number of ended runs whose spans wait for their export; None if
            the service exports no spans.
        on_call: Called with each call that ended; None for no listener.
        log_receivers: Decides whether and where the service exports the logs of a session.
        on_point: Called at the crash points of the write path; for tests.
    """

    store: Store
    clock: Clock
    readers: Executor
    terms: LeaseTerms
    notifier: CommitNotifier
    connections: ConnectedSessions
    about: About
    activity: Activity
    files: OpenFiles = field(default_factory=OpenFiles)
    parsing: Parsing = field(default_factory=Parsing)
    under_way: set[str] = field(default_factory=set)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    log_receivers: Receivers = field(default_factory=partial(Receivers, Signal.LOGS))
    on_point: Callable[[str], None] | None = None
    command_watches: CommandWatches = field(default_factory=CommandWatches)
    access_tokens: KnownTokens = field(default_factory=KnownTokens)
    ended_runs: EndedRuns = field(default_factory=EndedRuns)
    writes: Writes = field(default_factory=Writes)
    on_call: CallListener | None = None
    spans_waiting: Callable[[], int | None] = _unknown
    access: Authorization = field(init=False)
    page_tokens: PageTokens = field(init=False)
    feeds: Feeds = field(init=False)
    new_id: IdSource = field(init=False)

    def __post_init__(self) -> None:
        self.page_tokens = PageTokens(self.store.identity)
        self.access = Authorization(self.access_tokens, self.clock)
        self.feeds = Feeds(self.store, self.notifier, self.readers)
        self.new_id = IdSource(self.clock.now_us, random.SystemRandom().getrandbits)

    def idle_since_us(self) -> int | None:
        """Return the time of the last call, on the monotonic clock; None while in use."""
        is_used = self.activity.open_calls or len(self.connections)
        return None if is_used else self.activity.last_call_us

    async def write(self, operation: Operation[T]) -> T:
        """Run an operation, and return its outcome after the commit.

        A cancelled caller does not stop it; otherwise it would be unknown if it was committed.
        """
        return await asyncio.shield(asyncio.wrap_future(self.store.submit(operation)))

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.readers, lambda: function(*args, **kwargs))

    async def follow_store(self) -> None:
        """Read the access tokens, and follow and count the commits of the store."""
        self.access_tokens.replace(await self.read(self.store.tokens.list))
        self.store.on_commit(self.notifier)
        self.store.on_commit(self.ended_runs)
        self.store.on_write(self.writes)
        self.store.on_session_news(self.command_watches)

    async def read_row(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads a single row, without a thread if that is cheaper."""
        if self.store.is_local:
            return function(*args, **kwargs)
        return await self.read(function, *args, **kwargs)

    async def next_change(self, mark: Mark) -> None:
        """Return soon after the next change of the mark.

        Raises:
            StoppingError: The service is stopping.
        """
        self.check_not_stopping()
        await mark.wait()
        self.check_not_stopping()
        # Commits come in quick succession; one read serves several.
        await asyncio.sleep(PAUSE_S)

    def check_not_stopping(self) -> None:
        """Check that the service is not stopping.

        Raises:
            StoppingError: The service is stopping.
        """
        if self.stopping.is_set():
            raise StoppingError("The service is stopping.", advice="Call again.")


def assemble(
    config: Config,
    store: Store,
    clock: Clock,
    *,
    readers: Executor,
    about: About,
    on_point: Callable[[str], None] | None = None,
) -> Backend:
    """Assemble the backend of a service process, in its event loop."""
    return Backend(
        store=store,
        clock=clock,
        readers=readers,
        terms=LeaseTerms(
            lease_us=round(config.lease_s * 1e6), grace_us=round(config.grace_s * 1e6)
        ),
        notifier=CommitNotifier(asyncio.get_running_loop(), store, readers),
        connections=ConnectedSessions(),
        about=about,
        activity=Activity(last_call_us=clock.monotonic_us()),
        on_point=on_point,
    )
