"""Damaged spools with the real service: undamaged events arrive, the others are reported."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.support.command_process import run_cli
from tests.support.flow_processes import FlowProcess
from tests.support.report_client import new_id, whole_run
from tests.support.run_queries import count_flow_runs, flow_history, flow_runs, wait_until
from tests.support.spools import batches_of, write_old_spool, write_spool

from flowspan.config import Config
from flowspan.connection.address import parse_address
from flowspan.reporter import list_spools, push_spools
from flowspan.reporter.spool.orphans import adopt_spools
from flowspan.v1 import state_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

COMPLETED = state_pb2.STATE_TYPE_COMPLETED
RUNS = 3


class Made(NamedTuple):
    """A spool with three runs, each in its own record."""

    path: Path
    session_id: str
    runs: list[str]
    places: list[tuple[int, int]]


def make_spool(
    folder: Path, address: str, write: Callable[..., Path] = write_spool, **options: str
) -> Made:
    session_id = options.get("session_id") or str(uuid.uuid4())
    runs = [new_id() for _ in range(RUNS)]
    batches = batches_of(event for run_id in runs for event in whole_run(run_id))
    path = write(folder, session_id, batches, address=address)
    data = path.read_bytes()
    starts = [data.index(batch) for _, _, batch in batches]
    head = 28 if write is write_spool else 20
    places = [
        (start - head, start + len(batch))
        for start, (_, _, batch) in zip(starts, batches, strict=True)
    ]
    return Made(path, session_id, runs, places)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_spool, write_old_spool], ids=["now", "old"])
def test_promise_flow_outlives_a_wrong_byte_anywhere_in_its_spool(
    write: Callable[..., Path], service: ServiceProcess, flowspan_home: Path
) -> None:
    """One spool per position, all in one home and sent by one call."""
    folder = flowspan_home / "spool"
    first = make_spool(folder, service.address, write)
    sizes = range(first.path.stat().st_size)
    expected = set(first.runs)
    hit_at: dict[str, bool] = {}
    for position in sizes:
        made = make_spool(folder, service.address, write)
        if position >= made.path.stat().st_size:
            expected.update(made.runs)
            continue
        flip(made.path, position)
        hits = [start <= position < end for start, end in made.places]
        # Damage to a field that an old record repeats elsewhere costs nothing.
        expected.update(run for run, is_hit in zip(made.runs, hits, strict=True) if not is_hit)
        hit_at[made.session_id] = any(hits)
    config = Config(home=flowspan_home, address=service.address)
    results = push_spools(config, any_address=True)
    assert len(results) == len(sizes) + 1
    for result in results:
        if result.problem:
            assert result.damaged_path is not None
            assert result.damaged_path.exists()
            assert result.missing_events in {0, 3}
            assert result.events == 3 * RUNS - 3 * (hit_at[result.session_id] is True)
        else:
            assert result.is_done
            assert result.events == 3 * RUNS
        assert not result.path.exists()
    counts = count_flow_runs(service.channel)
    taken = sum(result.events for result in results) // 3
    assert counts == {COMPLETED: taken}
    assert taken >= len(expected)
    for run_id in sorted(expected)[::50]:
        assert flow_history(service.channel, run_id) == ["Pending", "Running", "Completed"]


@pytest.mark.slow
def test_promise_flow_outlives_a_cut_anywhere_in_its_spool(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    folder = flowspan_home / "spool"
    whole = make_spool(folder, service.address)
    expected = RUNS
    for length in range(whole.path.stat().st_size):
        made = make_spool(folder, service.address)
        made.path.write_bytes(made.path.read_bytes()[:length])
        expected += sum(end <= length for _, end in made.places)
    results = push_spools(Config(home=flowspan_home, address=service.address), any_address=True)
    assert all(not result.path.exists() for result in results)
    assert sum(result.events for result in results) == 3 * expected
    assert count_flow_runs(service.channel) == {COMPLETED: expected}


def test_a_flow_that_drains_a_damaged_spool_says_so(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    folder = flowspan_home / "spool"
    damaged = make_spool(folder, service.address)
    flip(damaged.path, damaged.places[1][0] + 40)
    (folder / "a.spool").write_bytes(b"")
    (folder / "b.spool").mkdir()
    whole = make_spool(folder, service.address)
    code = """
        from flowspan import flow

        @flow
        def draining():
            print("draining", flush=True)
            input()

        draining()
    """
    with FlowProcess(code, home=flowspan_home, address=service.address) as process:
        process.wait_for_line("draining")
        wait_until(lambda: not whole.path.exists() and not damaged.path.exists(), "the spools")
        process.say("")
        process.finish()
        errors = process.errors
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if damaged.session_id in line]
    assert "3 events are missing" in line
    assert "6 events were sent" in line
    assert f"{damaged.path}.damaged" in line
    assert f"{folder}/a.spool.damaged" in errors
    assert "b.spool was not sent: it is a folder" in errors
    arrived = {run.id for run in flow_runs(service.channel)}
    assert arrived >= {damaged.runs[0], damaged.runs[2], *whole.runs}
    assert damaged.runs[1] not in arrived


@pytest.mark.slow
def test_the_command_says_what_is_damaged_and_fails(
    service: ServiceProcess, flowspan_home: Path
) -> None:
    folder = flowspan_home / "spool"
    made = make_spool(folder, service.address)
    flip(made.path, made.places[0][0] + 2)
    strange = folder / "\udcff.spool"
    strange.write_text("no spool")
    run_cli("spool", "ls", address=service.address, expected_code=1)
    run_cli("spool", "ls", "--json", address=service.address, expected_code=1)
    (before,) = [info for info in list_spools(Config(home=flowspan_home)) if info.session_id]
    assert (before.is_damaged, before.missing_events) == (True, 3)
    said = run_cli("spool", "push", "--json", address=service.address, expected_code=1)
    assert "2 of 2 spools were not sent completely" in said
    kept = f"{made.path}.damaged"
    (after,) = [info for info in list_spools(Config(home=flowspan_home)) if info.session_id]
    assert (str(after.path), after.is_set_aside, after.missing_events) == (kept, True, 3)
    assert run_cli("spool", "push", address=service.address) == "Nothing to send.\n"
    assert {run.id for run in flow_runs(service.channel)} == set(made.runs[1:])


def test_what_the_service_refuses_is_one_spools_trouble(
    service: ServiceProcess, flowspan_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that the service rejects, between sessions that it accepts."""
    folder = flowspan_home / "spool"
    config = Config(home=flowspan_home, address=service.address)
    address = parse_address(service.address, source="", home=flowspan_home)
    wholes = [make_spool(folder, service.address) for _ in range(2)]
    bad = [make_spool(folder, service.address, session_id=name) for name in ("0", "x" * 200)]
    with caplog.at_level(logging.WARNING):
        adopt_spools(config, address)
    assert not any(each.path.exists() for each in wholes)
    assert all(each.path.exists() for each in bad)
    assert len([record for record in caplog.records if "refused" in record.message]) == 2
    assert all("refused its session" in result.problem for result in push_spools(config))
    assert count_flow_runs(service.channel) == {COMPLETED: 2 * RUNS}


def test_a_spool_that_cannot_be_removed_is_told_of(
    service: ServiceProcess, flowspan_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_spool(flowspan_home / "spool", service.address)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", fail)
        (result,) = push_spools(Config(home=flowspan_home, address=service.address))
    assert not result.is_done
    assert result.events == 3 * RUNS
    assert "cannot be deleted (Permission denied)" in result.problem
    (again,) = push_spools(Config(home=flowspan_home, address=service.address))
    assert (again.is_done, again.events) == (True, 0)
