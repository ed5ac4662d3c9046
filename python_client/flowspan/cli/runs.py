"""`flowspan run ls`, `run show` and `run history`; `task ls`."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flowspan.api.models import FlowRun, RunFilter, StateType, TaskRun
from flowspan.cli import format as fmt
from flowspan.cli import json_output, options, run_details, tree, tree_view
from flowspan.cli.artifacts import print_artifacts_of
from flowspan.cli.lookup import find_run, short_id, short_ids
from flowspan.cli.session import session
from flowspan.cli.state_view import state_text
from flowspan.cli.states import checked, parse_states
from flowspan.cli.trace_links import TraceLinks
from flowspan.exceptions import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from flowspan.api.client import SyncFlowspanClient
    from flowspan.api.models import Failure, Run, State, Transition
    from flowspan.cli.session import Session
    from flowspan.cli.tree import Node, RunTree

_PAGE_SIZE = 1000
_SHOWN_FAILURES = 3
_TROUBLE = frozenset({StateType.FAILED, StateType.CRASHED})
_ARGUMENTS_WIDTH = 120


def list_runs(
    ctx: typer.Context,
    *,
    state: options.States = None,
    flow: Annotated[
        list[str] | None,
        typer.Option(
            "--flow",
            "-f",
            metavar="NAME",
            help="Filter by flow name. Repeatable.",
            callback=options.refuse_blank,
        ),
    ] = None,
    name: options.RunName = None,
    tag: options.Tags = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: options.Limit = 20,
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Include flow runs called by another run.")
    ] = False,
    json: options.Json = False,
) -> None:
    """List flow runs, newest first.

    Try:

        flowspan run ls --state failed --since 1d

        flowspan run ls --since 2026-01-31 --until 2026-02-01

        flowspan run ls --flow etl --limit 0 --json | jq -r .id
    """
    this = session(ctx)
    types, state_names = parse_states(state)
    after, before = options.parse_period(since, until, now=this.now)
    run_filter = RunFilter(
        state_types=types,
        state_names=state_names,
        function_names=tuple(flow or ()),
        run_name=name,
        tags=tuple(tag or ()),
        top_level_only=not all_,
        created_after=after,
        created_before=before,
    )
    found = this.client().read_flow_runs(run_filter, page_size=_page_size(limit))
    found = checked(found, this.client(), state_names)
    _print_runs(this, found, limit=limit, json=json, nothing="No flow runs.")


def list_task_runs(
    ctx: typer.Context,
    *,
    state: options.States = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="Filter by task name. Repeatable.",
            callback=options.refuse_blank,
        ),
    ] = None,
    flow_run: Annotated[
        str | None,
        typer.Option(
            "--run",
            "-r",
            metavar="ID",
            help="Filter by flow run.",
            callback=options.refuse_blank,
        ),
    ] = None,
    name: options.RunName = None,
    tag: options.Tags = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: options.Limit = 20,
    json: options.Json = False,
) -> None:
    """List task runs, newest first.

    Try:

        flowspan task ls --run latest --state failed
    """
    this = session(ctx)
    types, state_names = parse_states(state)
    after, before = options.parse_period(since, until, now=this.now)
    owner = None if flow_run is None else find_run(this.client(), flow_run, now=this.now).id
    run_filter = RunFilter(
        state_types=types,
        state_names=state_names,
        function_names=tuple(task or ()),
        run_name=name,
        tags=tuple(tag or ()),
        flow_run_id=owner,
        created_after=after,
        created_before=before,
    )
    found = this.client().read_task_runs(run_filter, page_size=_page_size(limit))
    found = checked(found, this.client(), state_names)
    _print_runs(this, found, limit=limit, json=json, nothing="No task runs.")


def show_run(
    ctx: typer.Context,
    run_id: options.RunId,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Show every run and full stack traces.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show a run and its descendants as a tree.

    Many runs of one function are folded into one line, followed by those that
    failed or were retried.

    Try:

        flowspan run show latest

        flowspan task show 0199a1b2-c3d4 --full
    """
    this = session(ctx)
    client = this.client()
    run = _with_details(client, find_run(client, run_id, now=this.now))
    labels = _labels_of(client, run)
    names: dict[UUID, str] = {}
    shown = tree.build(run, _noting_inputs(_runs_of_tree(client, run), run, names))
    links = TraceLinks.of(client)
    if json:
        this.print_json_tree(shown.node(run.id), links.url_of, labels=labels)
        return
    for line in _head(run, labels, names, now=this.now, full=full):
        this.print(line)
    trace = links.text_of(run)
    if trace:
        this.print(_field("trace", trace))
    this.print()
    detail = tree_view.FULL if full else tree_view.STANDARD
    levels = tree_view.indented_levels(this.width)
    drawn = list(tree_view.lines(shown, now=this.now, detail=detail, indented_levels=levels))
    for row in tree_view.layout(drawn, width=this.width):
        this.print(row)
    _print_totals(this, shown, drawn_count=len(drawn))
    _print_failures(this, shown, full=full)
    print_artifacts_of(this, client, run)
    this.print()
    this.print(Text(f"Logs: flowspan run logs {short_id(run.id)}", style="dim"))


def show_history(ctx: typer.Context, run_id: options.RunId, *, json: options.Json = False) -> None:
    """Show every state that a run has been in.

    Try:

        flowspan run history latest
    """
    this = session(ctx)
    client = this.client()
    run = find_run(client, run_id, now=this.now)
    is_flow = isinstance(run, FlowRun)
    history = (client.read_flow_run_transitions if is_flow else client.read_task_run_transitions)(
        run.id
    )
    if json:
        for transition in history:
            this.print_json(json_output.record(transition))
        return
    this.print_table(
        ("#", "TIME", "STATE", "ATTEMPT", "CAUSE", "REASON"),
        (_history_row(transition, now=this.now) for transition in history),
    )


def _history_row(transition: Transition, *, now: datetime) -> tuple[str | Text, ...]:
    state = transition.state
    return (
        fmt.count(transition.ordinal),
        fmt.moment(state.entered_at, now=now),
        state_text(state.type, state.name),
        fmt.count(transition.attempt),
        transition.cause.name.lower().replace("_", " "),
        fmt.reason(state),
    )


def _page_size(limit: int) -> int:
    return min(limit + 1, _PAGE_SIZE) if limit else _PAGE_SIZE


def _print_runs(
    this: Session, found: Iterator[Run], *, limit: int, json: bool, nothing: str
) -> None:
    runs = islice(found, limit) if limit else found
    if json:
        links = TraceLinks.of(this.client())
        for run in runs:
            this.print_json(json_output.run(run, links.url_of))
        return
    listed = list(runs)
    if not listed:
        this.print(nothing)
        return
    is_tagged = any(run.tags for run in listed)
    now = this.now
    waited = {run.id: fmt.run_wait(run, now=now) for run in listed}
    is_waited = any(waited.values())
    names = ("FLOW", "NAME") if isinstance(listed[0], FlowRun) else ("TASK",)
    optional = (*(("WAITED",) if is_waited else ()), *(("TAGS",) if is_tagged else ()))
    this.print_table(
        ("ID", *names, "STATE", "STARTED", "TOOK", *optional),
        (
            (
                *_run_row(run, short, now=now),
                *((waited[run.id],) if is_waited else ()),
                *((", ".join(run.tags),) if is_tagged else ()),
            )
            for run, short in zip(listed, short_ids([run.id for run in listed]), strict=True)
        ),
    )
    if limit and next(found, None) is not None:
        this.print(Text(f"… and more. Use --limit {limit * 5}, or --limit 0 for all.", style="dim"))


def _run_row(run: Run, short: str, *, now: datetime) -> tuple[str | Text, ...]:
    is_flow = isinstance(run, FlowRun)
    return (
        short,
        *((run.function_name, run.name) if is_flow else (tree_view.title(run).plain,)),
        state_text(run.state.type, run.state.name),
        fmt.ago(run.started_at or run.created_at, now=now),
        fmt.run_duration(run, now=now),
    )


def _runs_of_tree(client: SyncFlowspanClient, run: Run) -> Iterator[Run]:
    """Yield every run of the tree that the run belongs to, which includes its descendants."""
    run_filter = RunFilter(root_run_id=run.root_run_id)
    yield from client.read_flow_runs(run_filter, oldest_first=True, page_size=_PAGE_SIZE)
    yield from client.read_task_runs(run_filter, oldest_first=True, page_size=_PAGE_SIZE)


def _with_details(client: SyncFlowspanClient, run: Run) -> Run:
    """Return a run that was found in a list with its long texts, which lists leave out."""
    is_flow = isinstance(run, FlowRun)
    try:
        return (client.read_flow_run if is_flow else client.read_task_run)(run.id)
    except ApiError as error:  # the list says enough
        if error.status != "UNIMPLEMENTED":
            raise
        return run


def _labels_of(client: SyncFlowspanClient, run: Run) -> dict[str, str]:
    """Return the labels of a run; none from a service that is older than labels."""
    try:
        return client.get_labels(run.id)
    except ApiError as error:
        if error.status != "UNIMPLEMENTED":
            raise
        return {}


def _noting_inputs(runs: Iterable[Run], run: Run, names: dict[UUID, str]) -> Iterator[Run]:
    """Yield the runs, and note the names of those whose results a run took."""
    wanted = {each.run_id for each in run.inputs}
    for each in runs:
        if each.id in wanted:
            names[each.id] = each.name or each.function_name
        yield each


def _head(
    run: Run,
    labels: Mapping[str, str],
    names: Mapping[UUID, str],
    *,
    now: datetime,
    full: bool,
) -> Iterator[Text]:
    kind = "flow run" if isinstance(run, FlowRun) else "task run"
    title = Text.assemble((fmt.visible(run.function_name), "bold"), f" {fmt.visible(run.name)}")
    title.rstrip()
    title.append("  ")
    title.append_text(state_text(run.state.type, run.state.name))
    yield title
    yield _field(kind, str(run.id))
    if run.parent_run_id is not None:
        yield _field("called by", str(run.parent_run_id))
    took, waited = fmt.run_duration(run, now=now), fmt.run_wait(run, now=now)
    started = fmt.stamp(run.started_at or run.created_at)
    verb = "running for" if run.state.type is StateType.RUNNING else "took"
    yield _field(
        "started" if run.started_at else "created",
        f"{started} ({fmt.ago(run.started_at or run.created_at, now=now)})"
        + (f", {verb} {took}" if took else "")
        + (f", waited {waited}" if waited else ""),
    )
    for name, value in run_details.fields(run, labels, names, full=full):
        yield _field(name, value)


def _field(name: str, value: str | Text) -> Text:
    shown = value if isinstance(value, Text) else fmt.visible(value)
    return Text.assemble((f"  {name:<12}", "dim"), shown)


def _print_totals(this: Session, shown: RunTree, *, drawn_count: int) -> None:
    """Print the number of runs of each function, unless every run has a line of its own."""
    if drawn_count >= len(shown):
        return
    this.print()
    width = None if this.width is None else this.width - 2
    for row in tree_view.totals(shown, width=width):
        this.print(Text.assemble("  ", row))


def _print_failures(this: Session, shown: RunTree, *, full: bool) -> None:
    """Print each error once, at the run where it arose.

    Runs that failed with the same error at the same place are shown together.
    """
    alike: dict[object, list[Node]] = {}
    for node in shown.nodes():
        if _is_own_failure(node):
            state = node.run.state
            alike.setdefault(state.failure or (state.name, state.message), []).append(node)
    groups = list(alike.values())
    limit = len(groups) if full else _SHOWN_FAILURES
    for node, *others in groups[:limit]:
        this.print()
        state = node.run.state
        title = state_text(state.type, node.run.name or node.run.function_name)
        title.append(f"  {fmt.reason(state)}")
        title.append(f"  (and {fmt.count(len(others), 'more run')})" if others else "", style="dim")
        this.print(title)
        arguments = run_details.arguments(node.run, width=None if full else _ARGUMENTS_WIDTH)
        if arguments and isinstance(node.run, TaskRun):
            this.print(Text(f"    with {fmt.visible(arguments)}", style="dim"))
        for line in run_details.failure_lines(state.failure, full=full):
            this.print(Text(f"    {line}", style="dim"))
    if len(groups) > limit:
        this.print()
        more = fmt.count(sum(map(len, groups[limit:])), "more failed run")
        this.print(Text(f"… and {more}. Use --full to show all.", style="dim"))


def _is_own_failure(node: Node) -> bool:
    """Return True if the run's error is shown with this run and not with another.

    An error that propagates through nested runs belongs to the innermost run. An error that
    another one was raised from is part of the other's stack trace and belongs to the outermost
    run.
    """
    if node.run.state.type not in _TROUBLE:
        return False
    own = _error(node.run.state)
    if any(
        child.run.state.type in _TROUBLE and (own is None or _error(child.run.state) == own)
        for child in node.children
    ):
        return False
    above = None if node.parent is None else node.parent.run.state
    return above is None or above.type not in _TROUBLE or own not in list(_causes(above.failure))


def _error(state: State) -> tuple[str, str] | None:
    """Return the error of a failed state; None if it failed because other runs failed."""
    if state.failure is not None:
        return state.failure.type, state.failure.message
    return (state.name, state.message) if state.type is StateType.CRASHED else None


def _causes(failure: Failure | None) -> Iterator[tuple[str, str]]:
    """Yield the causes of an error that its stack trace includes."""
    cause = failure.cause if failure is not None and failure.stack_trace else None
    while cause is not None:
        yield cause.type, cause.message
        cause = cause.cause
