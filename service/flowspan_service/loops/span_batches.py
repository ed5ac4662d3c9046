"""The spans of a page of runs, in batches that a receiver accepts."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import structlog

from flowspan_service.domain.runs import RunKind
from flowspan_service.domain.states import Cause
from flowspan_service.loops.span_courses import course_of, needs_history
from flowspan_service.loops.span_records import flow_run_of, link_to, spans_of
from flowspan_service.loops.span_resources import resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link

    from flowspan_service.app.ports import Store
    from flowspan_service.domain.runs import Run, Transition
    from flowspan_service.domain.sessions import SpanSource
    from flowspan_service.domain.span_facts import InputFacts, SpanDecoder

log = structlog.get_logger("flowspan.spans")

BATCH_CHARS = 1_000_000
"""The size after which a batch ends: receivers refuse requests above 4 MiB."""
BATCH_SPANS = 500
MAX_LINKS = 128
"""The links of a span, as OpenTelemetry's default."""
MANY_INPUTS = 10
_SPAN_CHARS = 500
"""The size of the ids, times and names of a span."""
_HISTORY_PAGE = 1_000


class SpanBatches:
    """Builds the spans of runs.

    Args:
        store: The store, which has the histories and the sessions of the runs.
        own: The resource of spans whose client sent none.
        decoder: Decodes the facts that spans show.
    """

    def __init__(self, store: Store, own: Resource, decoder: SpanDecoder) -> None:
        self._store = store
        self._own = own
        self._decoder = decoder

    def of(self, runs: Iterable[Run]) -> Iterator[list[ReadableSpan]]:
        """Yield the spans of the runs, in order, in batches that are not empty."""
        page = list(runs)
        sources = self._store.sessions.span_sources(
            {run.session_id for run in page if run.session_id is not None}
        )
        links = self._links(page)
        names = self._flow_names(page)
        signs = self._store.last_signs.of(run.id for run in page if run.cause == Cause.SESSION_LOST)
        batch: list[ReadableSpan] = []
        size = 0
        for run in page:
            about = _About(
                sources.get(run.session_id or ""),
                links[run.id],
                names.get(flow_run_of(run), ""),
                signs.get(run.id),
            )
            for span in self._spans(run, about):
                batch.append(span)
                size += _size_of(span)
                if size > BATCH_CHARS or len(batch) == BATCH_SPANS:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _links(self, runs: Iterable[Run]) -> dict[str, list[Link]]:
        """Return the links of each run to the runs whose results it took."""
        inputs = {
            run.id: list(counted(self._decoder.inputs(run.details.inputs)))[-MAX_LINKS:]
            for run in runs
            if run.details is not None and run.details.inputs is not None
        }
        traces = self._store.runs.traces(
            {taken.run_id for some in inputs.values() for taken, _ in some}
        )
        links: dict[str, list[Link]] = defaultdict(list)
        for run_id, some in inputs.items():
            made = (link_to(each, traces.get(each.run_id), count=count) for each, count in some)
            links[run_id] = [link for link in made if link is not None]
        return links

    def _flow_names(self, runs: Iterable[Run]) -> dict[str, str]:
        """Return the names of the flows that the runs belong to, by flow run."""
        names, wanted = {}, set()
        for run in runs:
            if run.kind == RunKind.FLOW:
                names[run.id] = run.function_name
            elif run.flow_run_id:
                wanted.add(run.flow_run_id)
        wanted -= names.keys()
        return names | self._store.runs.function_names(wanted) if wanted else names

    def _spans(self, run: Run, about: _About) -> list[ReadableSpan]:
        # Not in the block below: if the history cannot be read, the export is retried.
        history = self._history(run) if needs_history(run) else ()
        course = course_of(run, history, last_sign_us=about.last_sign_us)
        try:
            return spans_of(
                run,
                course,
                resource_of(run, about.source, self._own),
                decoder=self._decoder,
                links=about.links,
                flow_name=about.flow_name,
            )
        except Exception:
            log.warning("span_not_made", run_id=run.id, exc_info=True)
            return []

    def _history(self, run: Run) -> Iterator[Transition]:
        after = 0
        while True:
            page = self._store.transitions.page(run.id, after_ordinal=after, limit=_HISTORY_PAGE)
            yield from page.items
            if not page.has_more or not page.items:
                return
            after = page.items[-1].ordinal


class _About(NamedTuple):
    """The facts about a run that are not in its row."""

    source: SpanSource | None
    links: list[Link]
    flow_name: str
    last_sign_us: int | None


def counted(inputs: Sequence[InputFacts]) -> Iterator[tuple[InputFacts, int]]:
    """Yield the inputs that get links, and the number of inputs that each of these stands for.

    Above MANY_INPUTS under one parameter, the first one stands for all.
    """
    counts = Counter(each.parameter for each in inputs)
    done: set[str] = set()
    for each in inputs:
        count = counts[each.parameter]
        if count <= MANY_INPUTS:
            yield each, 1
        elif each.parameter not in done:
            done.add(each.parameter)
            yield each, count


def _size_of(span: ReadableSpan) -> int:
    """Return the approximate size of a span: its texts."""
    values = [*(span.attributes or {}).values()]
    for event in span.events:
        values += (event.attributes or {}).values()
    return _SPAN_CHARS + sum(len(str(value)) for value in values)
