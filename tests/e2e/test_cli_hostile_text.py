"""No command prints terminal control sequences, whatever text runs have stored."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import typer
from tests.support.cli import COMMAND, Outcome, flowspan, on_terminal
from tests.support.report_client import Reporter
from tests.support.service import ServiceProcess

from flowspan.api.client import SyncFlowspanClient
from flowspan.cli.main import app
from flowspan.v1 import failure_pb2, log_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

# In pieces, because a name has at most 256 bytes.
BAD = (
    "a\x1b[31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x1b]0;title\x07 \x9b2J\x9d0;t\x9c"
)
WORSE = (
    "\x1bc\x1b(0\x1bPq\x1b\\ [red]m[/] :smile: \r\b\x07\x0e\x7f\x85"
    "\u202eevil\u2066\u200f\u2028\ufeff"
)
TEXT = f"{BAD}{WORSE} \x1b[\x1b[2J2J \x1b]no end \x9d\x1b é日本語🎉👩‍🚀\t\nnext"
VALUE = f"{TEXT}\x00\ud800"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OWN_CURSOR = re.compile(r"\x1b\[(\?25[lh]|[0-9]*[AKG]|2K)|\r")
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


@dataclass(frozen=True)
class Stored:
    """A service with hostile text in it, and the ids of the objects that contain it."""

    service: ServiceProcess
    flow: str
    task: str
    waiting: str
    artifacts: tuple[str, ...]


def store(service: ServiceProcess) -> Stored:
    """Store hostile text in every field that accepts it."""
    with SyncFlowspanClient(service.address) as client:
        flow, task = report_runs(service)
        made = [
            client.create_artifact(kind, data, key=key, description=TEXT, run_id=task)
            for kind, data, key in [
                ("markdown", VALUE, "text"),
                ("table", [{VALUE: VALUE}, {VALUE: [VALUE]}], "table"),
                (BAD[:60], {VALUE: VALUE}, "own"),
                ("link", {"link": VALUE, "link_text": VALUE}, None),
            ]
        ]
        client.set_variable("text", VALUE, tags=[BAD, WORSE])
        client.set_variable("object", {VALUE: [VALUE]})
        client.set_variable("doomed", VALUE)
        client.set_labels(flow, {"note": BAD, "other": WORSE})
        waiting = client.create_flow_run(BAD, name=WORSE, tags=[BAD])
    return Stored(service, flow, task, str(waiting.id), tuple(str(each.id) for each in made))


def report_runs(service: ServiceProcess) -> tuple[str, str]:
    reporter = Reporter(service.channel, now_s=time.time() - 100)
    failure = failure_pb2.Failure(
        type=BAD,
        message=TEXT,
        stack_trace=TEXT,
        cause=failure_pb2.Failure(type=WORSE, message=TEXT, stack_trace=TEXT),
    )
    parameters = json.dumps({VALUE: VALUE}).encode()
    flow = reporter.flow_run(BAD, WORSE, tags=[BAD, WORSE], version=BAD, parameters=parameters)
    reporter.state(flow, "RUNNING", name=BAD[:60], message=TEXT)
    tasks = [reporter.task_run(WORSE, BAD, parent=flow, tags=[WORSE]) for _ in range(12)]
    for number, task in enumerate(tasks):
        reporter.state(task, "RUNNING", name=WORSE[:40], message=TEXT)
        reporter.log(task, TEXT, level=log_pb2.LOG_LEVEL_ERROR)
        if number % 2:
            reporter.state(task, "FAILED", name=BAD[:60], message=TEXT, failure=failure)
        else:
            reporter.state(task, "COMPLETED", name=WORSE[:40], message=TEXT)
    reporter.state(flow, "FAILED", name=BAD[:60], message=TEXT, failure=failure)
    reporter.finish()
    return flow, tasks[1]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    service = ServiceProcess(home=tmp_path_factory.mktemp("hostile"))
    service.start()
    try:
        yield store(service)
    finally:
        service.end()


@pytest.fixture
def stored(shared: Stored, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", shared.service.address)
    return shared


# The command line of each command; {names} are the fields of Stored.
CALLS: dict[str, list[str]] = {
    "run ls": ["--all"],
    "run show": ["{flow}", "{flow} --full"],
    "run logs": ["{flow}", "{flow} --follow"],
    "run watch": ["{flow}"],
    "run history": ["{task}", "{flow}"],
    "run label": ["{flow}"],
    "run cancel": ["{waiting}"],
    "run delete": ["{waiting} --force"],
    "task ls": ["", "--run {flow}"],
    "task show": ["{task}", "{task} --full"],
    "flow ls": [""],
    "artifact ls": ["", "--all"],
    "artifact inspect": ["text", "table", "own", "{link}"],
    "artifact delete": ["text"],
    "variable ls": [""],
    "variable get": ["text", "object"],
    "variable set": ["other"],
    "variable unset": ["doomed"],
    "variable inspect": ["text", "object"],
    "spool ls": [""],
    "spool push": [""],
    "server status": [""],
    "token ls": [""],
    "profile ls": [""],
    "config show": [""],
    "version": [""],
}
# These commands print no stored text, or only what their own command line names.
NO_DATA = {
    *("server start", "server stop", "migrate", "run open"),
    *("token create", "token revoke", "profile use", "profile set"),
}
CHANGES = {"run cancel", "run delete", "artifact delete", "variable set", "variable unset"}
READS = [(name, arguments) for name in CALLS for arguments in CALLS[name] if name not in CHANGES]


def commands() -> set[str]:
    """Return every command of the program."""
    found: set[str] = set()
    waiting = [("", typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        children = getattr(command, "commands", None)
        if children is None:
            found.add(path)
        for name, child in (children or {}).items():
            waiting.append((f"{path} {name}".strip(), child))
    return found


def test_every_command_is_tried() -> None:
    """A new command needs a line in CALLS unless it prints no stored text."""
    assert commands() == set(CALLS) | NO_DATA


def call(stored: Stored, name: str, arguments: str) -> list[str]:
    fields = {"flow": stored.flow, "task": stored.task, "waiting": stored.waiting}
    return [*name.split(), *arguments.format(**fields, link=stored.artifacts[-1]).split()]


def assert_clean(outcome: Outcome) -> None:
    for text in (outcome.out, outcome.err):
        assert not FORBIDDEN.search(text), ascii(text)


@pytest.mark.parametrize(("name", "arguments"), READS)
def test_in_a_pipe(stored: Stored, name: str, arguments: str) -> None:
    outcome = flowspan(*call(stored, name, arguments))
    assert_clean(outcome)
    if name.split(maxsplit=1)[0] in {"run", "task", "artifact", "flow"}:
        assert "[red]m[/]" in outcome.out or "red link" in outcome.out
    if name in {"run show", "task show"}:
        trace = [line for line in outcome.lines if line.startswith("    ")]
        assert any("ared link  " in line for line in trace)
        assert not any("0;t" in line for line in trace)
    if name == "run logs":
        # Sequences are removed whole: a link's text stays without its target, a word loses its
        # colour.
        assert "| ared link  " in outcome.out
        assert "é日本語🎉👩‍🚀\t\nnext\n" in outcome.out


@pytest.mark.parametrize(("name", "arguments"), READS)
def test_as_json(stored: Stored, name: str, arguments: str) -> None:
    """JSON is safe to print and has every character, but lone surrogates are replaced."""
    outcome = flowspan(*call(stored, name, arguments), "--json")
    texts: set[str] = set()
    for line in outcome.lines:
        collect(json.loads(line), texts)
    assert not FORBIDDEN.search(outcome.out)
    if name.split(maxsplit=1)[0] in {"run", "task"}:
        assert {TEXT, WORSE, BAD} & texts
    if name in {"artifact inspect", "variable get", "variable inspect"}:
        assert VALUE.replace("\ud800", "\ufffd") in texts


def collect(value: Any, texts: set[str]) -> None:
    if isinstance(value, str):
        texts.add(value)
    elif isinstance(value, dict):
        texts.update(value)
        for item in value.values():
            collect(item, texts)
    elif isinstance(value, list):
        for item in value:
            collect(item, texts)


@pytest.mark.parametrize(("name", "arguments"), READS)
def test_on_a_terminal(stored: Stored, name: str, arguments: str) -> None:
    outcome = on_terminal((*COMMAND, *call(stored, name, arguments)), columns=100)
    assert outcome.code == 0
    rest = COLOUR.sub("", outcome.out)
    if name == "run watch":
        rest = OWN_CURSOR.sub("", rest)
    assert_clean(Outcome(0, rest, ""))


def test_commands_that_change_and_errors(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store(service)
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    calls = [
        flowspan("run", "cancel", stored.waiting),
        flowspan("run", "cancel", stored.flow, code=1),
        flowspan("run", "cancel", stored.task, code=1),
        flowspan("run", "delete", stored.task, code=1),
        flowspan("run", "show", WORSE, code=None),
        flowspan("run", "show", stored.flow[:4], code=2),  # This lists the runs that begin with it.
        flowspan("run", "logs", TEXT, code=1),
        flowspan("run", "ls", "--since", TEXT, code=2),
        flowspan("task", "ls", "--run", TEXT, code=1),
        flowspan("artifact", "inspect", stored.artifacts[0][:8], code=2),
        flowspan("artifact", "inspect", TEXT, code=1),
        flowspan("artifact", "delete", stored.artifacts[-1]),
        flowspan("artifact", "delete", stored.artifacts[2]),
        flowspan("variable", "set", "other", VALUE.replace("\0", "").replace("\ud800", "")),
        flowspan("variable", "set", "other", "x", code=1),
        flowspan("variable", "get", "no" + "é", code=None),
        flowspan("variable", "unset", "doomed"),
        flowspan("run", "label", stored.flow, "a=" + BAD.replace("\0", "")),
        flowspan("run", "label", stored.flow, BAD.replace("\0", "") + "=a", code=1),
        flowspan("run", "delete", stored.flow),
    ]
    for outcome in calls:
        assert_clean(outcome)
        assert outcome.out or outcome.err
