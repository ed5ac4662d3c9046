"""Invalid arguments of commands: ids, names, numbers, times and states.

The tests cover all commands; a new command needs its line in `tests.support.cli_commands`.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cli import COMMAND, flowspan
from tests.support.cli_commands import SAMPLES, all_commands
from tests.support.cli_shared import BAD_BYTES, HUGE, Shared, assert_clear
from tests.support.report_client import Reporter

from flowspan import states as library
from flowspan.cli import states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import ServiceProcess


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    shared = Shared(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.service.end()


@pytest.fixture
def shared(_shared: Shared, monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", _shared.service.address)
    return _shared


def test_arguments_that_are_not_utf_8(shared: Shared) -> None:
    for path in SAMPLES:
        line = shared.line(path)
        for wrong in (
            (*line, BAD_BYTES),
            (*line, f"--{BAD_BYTES}"),
            (*path.split(), "--flow", BAD_BYTES),
            ("--address", BAD_BYTES, *line),
        ):
            outcome = flowspan(*wrong, code=2)
            assert_clear(outcome, 2)
            assert "caf\\xe9" in outcome.err
            assert "UTF-8" in outcome.err


def test_an_argument_of_a_real_shell_that_is_not_utf_8() -> None:
    done = subprocess.run(
        [*COMMAND, "run", "ls", "--flow", b"caf\xe9"], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: the argument 'caf\\xe9' is not valid UTF-8\n")


def parameters(*names: str) -> list[tuple[str, Any]]:
    """Return the parameters with one of these names; without names, all that take a text."""
    return [
        (path, parameter)
        for path, command in all_commands().items()
        for parameter in command.params
        if not getattr(parameter, "is_flag", False)
        and (parameter.name in names if names else parameter.name not in {"limit", "help"})
    ]


def with_value(shared: Shared, path: str, parameter: Any, value: str) -> tuple[str, ...]:
    """Return a command line with this value, and valid ones for the other required parameters."""
    if parameter.param_type_name == "option":
        line = shared.line(path) if "--help" not in SAMPLES[path] else (*path.split(), shared.run)
        return (*line, f"{max(parameter.opts, key=len)}={value}")
    needed = [each for each in all_commands()[path].params if each.param_type_name == "argument"]
    return (*path.split(), *(value if each.name == parameter.name else "good" for each in needed))


@pytest.mark.parametrize("value", ["", " \t\n"])
def test_empty_ids_names_and_filters_are_usage_errors(shared: Shared, value: str) -> None:
    texts = parameters()
    assert {f"{path} {parameter.name}" for path, parameter in texts} >= {
        "run delete run_id",
        "task ls flow_run",
        "run ls flow",
        "run watch flow",
        "run logs logger",
        "artifact delete artifact",
        "variable unset name",
    }
    for path, parameter in texts:
        if (path, parameter.name) == ("variable set", "value"):
            continue  # A variable may be an empty text.
        outcome = flowspan(*with_value(shared, path, parameter, value), code=None)
        if parameter.name == "grep" and value:  # A message may contain blanks.
            assert outcome.code == 0
        else:
            assert_clear(outcome, 2)
    assert len(flowspan("run", "ls", "--json").objects) == 1


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e3", HUGE, "x", "", " ", "0x10", "½"])
def test_numbers(shared: Shared, value: str) -> None:
    numbers = parameters("limit")
    assert len(numbers) == 5
    for path, parameter in numbers:
        is_number = value in {"0", HUGE}
        outcome = flowspan(*with_value(shared, path, parameter, value), code=None)
        if is_number:
            assert (outcome.code, outcome.err) == (0, ""), outcome
        else:
            assert_clear(outcome, 2)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("0s", 0),
        ("-1d", 2),
        ("nan", 2),
        ("inf", 2),
        ("infd", 2),
        ("1e9d", 2),
        (f"{HUGE}d", 0),
        ("99999999999w", 0),
        ("0001-01-01", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59-12:00", 0),
        ("0001-01-01T00:00:00+12:00", 0),
        ("10000-01-01", 2),
        (HUGE, 2),
        ("yesterday", 2),
        ("5", 2),
    ],
)
def test_moments(shared: Shared, value: str, code: int) -> None:
    moments = parameters("since", "until")
    assert len(moments) == 5
    for path, parameter in moments:
        outcome = flowspan(*with_value(shared, path, parameter, value), code=None)
        if code:
            assert_clear(outcome, code)
        else:
            assert outcome.code == 0, outcome


def test_a_period_without_anything_in_it(shared: Shared) -> None:
    assert_clear(flowspan("run", "ls", "--since", "1h", "--until", "2h", code=2), 2)
    assert flowspan("run", "ls", "--since", "2h", "--until", "1h").out == "No flow runs.\n"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("run delete", ("--force",)), ("run cancel", ()), ("run show", ()), ("run history", ())],
)
def test_an_ambiguous_id_is_a_usage_error_that_lists_the_candidates(
    service: ServiceProcess,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    ids = [reporter.flow_run("etl", "same-name") for _ in range(12)]
    for run in ids:
        reporter.completed(run)
    reporter.finish()
    for text in (ids[0][:6], "same-name"):
        outcome = flowspan(*command.split(), *arguments, text, code=2)
        assert_clear(outcome, 2)
        assert sum(run in outcome.err for run in ids) == 10
        assert "and more" in outcome.err
    assert len(flowspan("run", "ls", "--json").objects) == 12


def test_names_may_look_like_ids(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    for name in ("cafe", "feedfacefeedfacefeedfacefeedface"):
        run = reporter.flow_run("etl", name)
        reporter.completed(run)
    reporter.finish()
    assert flowspan("run", "show", "cafe", "--json").objects[0]["name"] == "cafe"
    shown = flowspan("run", "show", run.replace("-", ""), "--json").objects
    assert shown[0]["id"] == run


@pytest.mark.parametrize("command", ["run", "task"])
def test_a_wrong_state_names_the_states(shared: Shared, command: str) -> None:
    for wrong, suggested in (
        ("complted", "completed"),
        ("timed-out", "TimedOut"),
        ("awaiting retry", "AwaitingRetry"),
        ("FAILD", "failed"),
        ("unknown", ""),
        ("Skipped", ""),
        (BAD_BYTES, None),
    ):
        for options in ((), ("--json",)):
            outcome = flowspan(command, "ls", "--state", wrong, *options, code=2)
            assert_clear(outcome, 2)
            if suggested is not None:
                assert "RolledBack" in outcome.err
                assert ("Did you mean" in outcome.err) == bool(suggested)
                assert f"Did you mean {suggested}?" in outcome.err or not suggested
    for right in ("COMPLETED", "Completed", "timedout", "rolledback", "Cached", "notready"):
        assert flowspan(command, "ls", "--state", right).err == ""


def test_a_state_that_code_has_named_is_right(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    reporter = Reporter(service.channel)
    run = reporter.flow_run("etl", "brave-otter")
    reporter.state(run, "RUNNING")
    task = reporter.task_run("load", "load-0", parent=run)
    reporter.state(task, "RUNNING")
    reporter.state(task, "COMPLETED", name="Skipped")
    reporter.state(run, "COMPLETED")
    reporter.finish()
    assert len(flowspan("task", "ls", "--state", "Skipped", "--json").objects) == 1
    assert flowspan("run", "ls", "--state", "Skipped").out == "No flow runs.\n"
    assert flowspan("run", "ls", "--state", "skipped", code=2).err


def test_the_names_of_states_are_those_of_the_library() -> None:
    makers = [each for each in vars(library).values() if isinstance(each, library.StateMaker)]
    made = {make().name for make in makers}
    assert "AwaitingRetry" in made
    known = {kind.name.capitalize() for kind in states._TYPES.values()} | set(
        states._NAMES.values()
    )
    assert made <= known
