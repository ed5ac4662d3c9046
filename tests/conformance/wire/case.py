"""A case of the wire tier: a YAML file with steps, faults and expectations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from tests.conformance.wire.peer import Behaviour, Welcomes
from tests.conformance.wire.recorded import RecordedFrames
from tests.data.protocol.reports import releases

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The events and frames that the peer must have received at the end of a case.

    Attributes:
        histories: The state names of runs, by the names of their flows or tasks.
        connections: The number of connections: exact, or [least, most].
        goodbye: True if the session must have ended with a Goodbye.
        logs: True if every text that the bodies log must have arrived exactly once.
        heartbeats: The least number of heartbeats.
        longest_silence_s: The longest time between two frames of an open connection.
        pauses_s: The time from the end of a connection to the begin of the next: [least, most] of
            each in turn.
        chunked: The least number of pieces of the longest log message.
        unwanted: Names of flows and tasks that must not have been reported.
    """

    histories: dict[str, str] = field(default_factory=dict)
    connections: int | list[int] = 1
    goodbye: bool = True
    logs: bool = True
    heartbeats: int = 0
    longest_silence_s: float | None = None
    pauses_s: list[list[float]] = field(default_factory=list)
    chunked: int = 0
    unwanted: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class WireCase:
    """A case.

    Attributes:
        name: The name of its file.
        words: What it shows, for people: one sentence.
        welcome: The fields of Welcome.
        connections: The behaviour of the peer on each connection.
        env: Environment variables of the driver.
        steps: What the test does, in order; see runner.py.
        expect: What the peer must have received.
        release: The release whose service sent the frames of the peer; empty for today's.
    """

    name: str
    words: str
    welcome: Welcomes
    connections: tuple[Behaviour, ...]
    env: dict[str, str]
    steps: list[dict[str, Any]]
    expect: Expectation
    release: str = ""


def load(path: Path) -> WireCase:
    """Read a case.

    Raises:
        TypeError: The file has an unknown or no needed field.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    welcome = data.pop("welcome", {})
    if "capabilities" in welcome:
        welcome["capabilities"] = tuple(welcome["capabilities"])
    return WireCase(
        name=path.stem,
        words=" ".join(data.pop("words").split()),
        welcome=Welcomes(**welcome),
        connections=tuple(Behaviour(**each) for each in data.pop("connections", [])),
        env={name: str(value) for name, value in data.pop("env", {}).items()},
        expect=Expectation(**data.pop("expect")),
        **data,
    )


def load_all() -> list[WireCase]:
    """Read all cases, by name, and one for each recorded release."""
    cases = [load(path) for path in sorted(FOLDER.glob("*.yaml"))]
    return cases + [_of_release(release) for release in releases()]


def _of_release(release: str) -> WireCase:
    """Return the case with the recorded frames of the service of a release."""
    case = load(FOLDER.parent / "release.yaml")
    return replace(
        case,
        name=f"release_{release.replace('.', '_')}",
        words=case.words.replace("RELEASE", release),
        welcome=RecordedFrames(release).welcomes,
        release=release,
    )
