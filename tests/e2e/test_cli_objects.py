"""`flowspan artifact` and `flowspan variable` against a real service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.cli import flowspan
from tests.support.flow_processes import run_code
from tests.support.run_queries import flow_runs, task_runs
from tests.support.service import ServiceProcess

from flowspan import get_client
from flowspan.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_ID = "0199c0de-0000-7000-8000-000000000001"

FLOW = """
    from flowspan import flow, task
    from flowspan.artifacts import (
        Artifact, create_link_artifact, create_markdown_artifact, create_progress_artifact,
        create_table_artifact, update_progress_artifact,
    )

    @task
    def measure(day):
        create_table_artifact(
            [{"city": "Ulm", "degrees": 7.5}, {"city": "Köln", "wind": [1, None]}],
            key="weather", description=f"day {day}\\nand more",
        )
        made = create_progress_artifact(0)
        update_progress_artifact(made, 50)

    @flow
    def report():
        for day in range(3):
            measure(day)
        create_markdown_artifact("# Title\\n\\x1b[31mred", key="text")
        create_link_artifact("https://x/y", "here")
        Artifact(type="own", data={"a": [1]}, key="own").create()

    report()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Yield a service with the artifacts of one run, for read-only tests."""
    service = ServiceProcess(home=tmp_path_factory.mktemp("shared"))
    service.start()
    try:
        run_code(FLOW, home=service.home / "client", address=service.address)
        yield service
    finally:
        service.end()


@pytest.fixture
def made(shared: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> ServiceProcess:
    """Return the shared service, configured as the address."""
    monkeypatch.setenv("FLOWSPAN_ADDRESS", shared.address)
    return shared


@pytest.fixture
def address(service: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a service for this test alone; return its address, which is configured."""
    monkeypatch.setenv("FLOWSPAN_ADDRESS", service.address)
    return service.address


def test_artifact_ls_shows_the_latest_of_each_key(made: ServiceProcess) -> None:
    lines = flowspan("artifact", "ls").lines
    assert lines[0].split() == ["ID", "KEY", "TYPE", "CREATED", "RUN", "DESCRIPTION"]
    assert [line.split()[1:3] for line in lines[1:]] == [
        ["own", "own"],
        ["text", "markdown"],
        ["weather", "table"],
    ]
    assert lines[3].endswith("day 2")
    objects = flowspan("artifact", "ls", "--json").objects
    assert [each["key"] for each in objects] == ["own", "text", "weather"]
    assert objects[0]["data"] == {"a": [1]}
    assert objects[2]["data"][0] == {"city": "Ulm", "degrees": 7.5}


def test_artifact_ls_with_options_shows_each(made: ServiceProcess) -> None:
    def listed(*options: str) -> list[str]:
        return [each["type"] for each in flowspan("artifact", "ls", "--json", *options).objects]

    everything = listed("--all")
    assert everything == ["own", "link", "markdown", *["progress", "table"] * 3]
    assert listed("--key", "weather") == ["table"] * 3
    assert listed("--type", "link", "--type", "own") == ["own", "link"]
    assert listed("--run", "latest") == everything
    (run,) = flow_runs(made.channel)
    task = task_runs(made.channel)[0]
    assert listed("--run", run.id, "--type", "progress") == ["progress"] * 3
    assert listed("--run", task.id) == ["progress", "table"]
    assert listed("--all", "--limit", "2") == ["own", "link"]
    assert "more" in flowspan("artifact", "ls", "--all", "-n", "2").out
    assert flowspan("artifact", "ls", "--key", "nothing").out == "No artifacts.\n"
    assert "no run" in flowspan("artifact", "ls", "--run", "no-such-run", code=1).err


def test_artifact_inspect(made: ServiceProcess) -> None:
    shown = flowspan("artifact", "inspect", "weather").lines
    assert shown[0] == "weather  table"
    assert any("day 2 and more" in line for line in shown)
    table = shown[shown.index("") + 1 :]
    assert [line.split() for line in table[:3]] == [
        ["city", "degrees", "wind"],
        ["Ulm", "7.5"],
        ["Köln", "[1,null]"],
    ]
    assert "2 earlier" in shown[-1]
    assert "flowspan artifact ls --key weather" in shown[-1]
    assert flowspan("artifact", "inspect", "text").out.endswith("\n\n# Title\nred\n")

    objects = flowspan("artifact", "ls", "--all", "--json").objects
    progress = next(each for each in objects if each["type"] == "progress")
    by_id = flowspan("artifact", "inspect", progress["id"]).lines
    assert by_id[0] == f"{progress['id']}  progress"
    assert by_id[-1] == "━" * 15 + "─" * 15 + " 50 %"
    assert any(line.startswith("  updated") for line in by_id)
    (as_json,) = flowspan("artifact", "inspect", progress["id"], "--json").objects
    assert as_json == progress
    assert as_json["data"] == 50.0
    several = flowspan("artifact", "inspect", progress["id"][:8], code=2).err
    assert "more than one artifact" in several
    missing = flowspan("artifact", "inspect", "nothing", code=1).err
    assert "no artifact has the key 'nothing'" in missing
    assert "flowspan artifact ls" in missing


def test_run_show_names_the_artifacts(made: ServiceProcess) -> None:
    shown = flowspan("run", "show", "latest").out
    assert "\n  table     weather" in shown
    described, markdown = (
        next(line for line in shown.splitlines() if f"  {kind} " in line)
        for kind in ("table", "markdown")
    )
    assert described.rstrip().endswith("  day 0")
    assert described.index("weather") == markdown.index("text")
    assert "Artifacts: flowspan artifact ls --run" in shown


def test_artifact_delete(address: str) -> None:
    with get_client(sync_client=True) as client:
        keyed = [client.create_artifact("table", number, key="k") for number in range(3)]
        plain = client.create_artifact("link", "x", artifact_id=OTHER_ID)
    out = flowspan("artifact", "delete", str(keyed[1].id)).out
    assert out == f"Deleted the table {keyed[1].id}.\n"
    assert flowspan("artifact", "delete", "k").out == "Deleted 2 artifacts with the key k.\n"
    (deleted,) = flowspan("artifact", "delete", OTHER_ID[:8], "--json").objects
    assert deleted == {"id": str(plain.id), "key": None, "deleted_artifact_count": 1}
    assert "no artifact" in flowspan("artifact", "delete", "k", code=1).err
    assert flowspan("artifact", "ls").out.startswith("No artifacts with a key")
    assert flowspan("artifact", "ls", "--all").out == "No artifacts.\n"


def test_artifact_delete_takes_all_of_a_key_with_blanks_around_it(address: str) -> None:
    with get_client(sync_client=True) as client:
        for number in range(3):
            client.create_artifact("table", number, key="k")
    assert flowspan("artifact", "delete", " k\n").out == "Deleted 3 artifacts with the key k.\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("500", 500),
        ("text", "text"),
        ('"500"', "500"),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("true", True),
        ("NaN", "NaN"),
        ("", ""),
    ],
)
def test_variable_set_takes_json_or_text(address: str, given: str, expected: object) -> None:
    out = flowspan("variable", "set", "v", given).out
    assert out == f"v is {json.dumps(expected, separators=(',', ':'))}.\n"
    assert json.loads(flowspan("variable", "get", "v", "--json").out) == expected
    shown = flowspan("variable", "get", "v").out
    assert shown == f"{expected}\n" if isinstance(expected, str) else json.loads(shown) == expected


def test_variables(address: str) -> None:
    assert flowspan("variable", "ls").out == "No variables.\n"
    flowspan("variable", "set", "limit_a", "1", "--tag", "x", "--tag", "y")
    flowspan("variable", "set", "limit_b", "--", "-3")
    flowspan("variable", "set", "other", "7", "--text")
    refused = flowspan("variable", "set", "limit_a", "2", code=1).err
    assert "already" in refused
    assert "--overwrite" in refused
    (stored,) = flowspan("variable", "set", "limit_a", "2", "--overwrite", "--json").objects
    assert (stored["name"], stored["value"], stored["tags"]) == ("limit_a", 2, [])
    flowspan("variable", "set", "limit_a", "2", "--overwrite", "--tag", "x")

    lines = flowspan("variable", "ls").lines
    assert lines[0].split() == ["NAME", "VALUE", "UPDATED", "TAGS"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["limit_a", "2"],
        ["limit_b", "-3"],
        ["other", '"7"'],
    ]
    assert [
        each["name"] for each in flowspan("variable", "ls", "--tag", "x", "--json").objects
    ] == ["limit_a"]
    assert len(flowspan("variable", "ls", "--prefix", "limit_").lines) == 3
    assert "more" in flowspan("variable", "ls", "-n", "1").out

    inspected = flowspan("variable", "inspect", "limit_a").out
    assert inspected.startswith("limit_a\n  tags        x\n")
    assert "  updated" in inspected
    (as_json,) = flowspan("variable", "inspect", "limit_a", "--json").objects
    assert set(as_json) == {"name", "value", "tags", "created_at", "updated_at"}

    assert flowspan("variable", "unset", "limit_a").out == "Deleted limit_a.\n"
    for command in ("unset", "get", "inspect"):
        missing = flowspan("variable", command, "limit_a", code=1).err
        assert "no variable 'limit_a'" in missing
        assert "flowspan variable ls" in missing
    bad = flowspan("variable", "set", "A b", "1", code=1).err
    assert "lower-case letters" in bad


def test_every_command_of_theirs_explains_itself() -> None:
    for group in app.registered_groups:
        if group.name in {"artifact", "variable"}:
            for command in group.typer_instance.registered_commands:
                help_text = flowspan(group.name, command.name, "--help").out
                assert f"flowspan {group.name} {command.name}" in help_text.split("Usage:")[1]
                assert "Try:" in help_text
                assert "--json" in help_text
                assert "bool" not in help_text.lower()  # A flag takes no value.
