"""The numbers and names that clients of every language rely on: pages and protos against code."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

from flowspan import states
from flowspan.connection import channel
from flowspan_service.api.calls.keep_alives import INTERVAL_S
from flowspan_service.api.fields.values import microseconds, timestamp
from flowspan_service.api.limits import MAX_CALLS_OF_A_CONNECTION
from flowspan_service.api.services import CAPABILITIES
from flowspan_service.api.watch import WATCHED_FIELDS
from flowspan_service.app.sessions import LeaseTerms
from flowspan_service.app.single_runs import DEFAULT_LEASE_US
from flowspan_service.config import load
from flowspan_service.domain.flows import FLOW_NAMESPACE, flow_id
from flowspan_service.domain.states import DEFAULT_NAMES, ROLLED_BACK, StateType
from flowspan_service.transports.grpc.options import server_options

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
STATES = (ROOT / "docs" / "states.md").read_text()
PROTOS = ROOT / "proto" / "flowspan" / "v1"
HOUR_US, SECOND_US = 3_600_000_000, 1_000_000


def comments(name: str) -> str:
    """Return the comments of a proto as one line of text."""
    found = re.findall(r"^\s*//(.*)$", (PROTOS / name).read_text(), re.MULTILINE)
    return " ".join(" ".join(found).split())


def prose(page: str) -> str:
    return " ".join(page.split())


def test_the_table_of_capabilities_is_that_of_the_service() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.v\d+)` \|", PROTOCOL, re.MULTILINE)
    assert rows == sorted(CAPABILITIES)


def test_the_namespace_of_flow_ids() -> None:
    in_bytes = FLOW_NAMESPACE.bytes.hex(" ")
    assert f"| namespace | `{FLOW_NAMESPACE}` |" in PROTOCOL
    assert f"| its bytes | `{in_bytes}` |" in PROTOCOL
    told = comments("flow.proto")
    assert str(FLOW_NAMESPACE) in told
    assert in_bytes in told
    assert flow_id("etl") in told
    examples = re.findall(
        r"^\| id of the flow `(\w+)` \| `([0-9a-f-]+)` \|", PROTOCOL, re.MULTILINE
    )
    assert [name for name, _ in examples] == ["etl", "größe"]
    for name, expected in examples:
        assert flow_id(name) == expected
        assert UUID(expected).version == 5


def test_the_bounds_of_leases(tmp_path: Path) -> None:
    config = load(["--home", str(tmp_path)], {})
    terms = LeaseTerms(lease_us=round(config.lease_s * 1e6), grace_us=round(config.grace_s * 1e6))
    assert (terms.min_lease_us, terms.max_lease_us) == (SECOND_US, HOUR_US)
    assert "| shortest | 1 s |\n| longest | 1 h |" in PROTOCOL
    assert f"the service's default: {config.lease_s:g} s" in PROTOCOL
    assert f"`reconnect_grace`: {config.grace_s:g} s" in PROTOCOL
    assert "The service grants 1 s to 1 h" in comments("report.proto")
    assert [terms.granted(asked) for asked in (0, 1, SECOND_US, HOUR_US, HOUR_US + 1)] == [
        terms.lease_us, SECOND_US, SECOND_US, HOUR_US, HOUR_US
    ]  # fmt: skip


def test_the_lease_of_single_runs() -> None:
    told = comments("single_run_service.proto")
    assert "1 s to 1 h, or 15 min if not set" in told
    assert DEFAULT_LEASE_US == 15 * 60 * SECOND_US


def test_times_have_microseconds() -> None:
    assert "a precision of one microsecond" in prose(PROTOCOL)
    time = timestamp(1_700_000_000_123_456)
    time.nanos += 999
    assert microseconds(time) == 1_700_000_000_123_456


def test_the_keepalive_of_connections() -> None:
    ours = dict(channel._OPTIONS)
    time_s, timeout_s = (
        int(ours[f"grpc.keepalive_{name}_ms"]) // 1000 for name in ("time", "timeout")
    )
    assert f"| keepalive time | {time_s} s; never less than 10 s |" in PROTOCOL
    assert f"| keepalive timeout | {timeout_s} s |" in PROTOCOL
    options = dict(server_options(lease_us=60_000_000))
    permitted_s = options["grpc.http2.min_recv_ping_interval_without_data_ms"] // 1000
    assert f"more often than every {permitted_s} s" in prose(PROTOCOL)
    assert permitted_s <= 10
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert f"pings each connection every {options['grpc.keepalive_time_ms'] // 1000} s" in PROTOCOL
    assert options["grpc.keepalive_timeout_ms"] == 65_000
    assert dict(server_options(lease_us=1_000_000))["grpc.keepalive_timeout_ms"] == 20_000
    assert "for the lease and 5 s more, but at least 20 s" in prose(PROTOCOL)
    assert f"at most {MAX_CALLS_OF_A_CONNECTION} calls at a time" in prose(PROTOCOL)


def test_keep_alives_of_streams() -> None:
    told = f"nothing was sent for {INTERVAL_S:g} s"
    assert told in prose(PROTOCOL)
    assert told in comments("watch_service.proto")
    assert told in comments("log_service.proto")


def test_the_fields_that_watches_filter_by() -> None:
    told = comments("watch_service.proto")
    (listed,) = re.findall(r"Only fields about what never changes are allowed: ([^.]*)\.", told)
    assert set(re.findall(r"[a-z_]{4,}", listed)) == set(WATCHED_FIELDS)


def names_of_states() -> dict[str, list[str]]:
    """Return the names of each type, as docs/states.md lists them."""
    rows = re.findall(r"^\| ([A-Z]+) \| [^|]+ \| ([A-Za-z, ]+) \|$", STATES, re.MULTILINE)
    return {kind: names.split(", ") for kind, names in rows}


def test_the_names_of_states_begin_with_the_default() -> None:
    found = names_of_states()
    assert list(found) == [kind.name for kind in StateType]
    assert {kind: names[0] for kind, names in found.items()} == {
        kind.name: DEFAULT_NAMES[kind] for kind in StateType
    }
    assert ROLLED_BACK in found["COMPLETED"]


def test_the_names_of_states_are_those_of_the_protos() -> None:
    text = (PROTOS / "state.proto").read_text()
    found = re.findall(r"// Names: ([^.]*)\.\n\s*STATE_TYPE_([A-Z]+) =", text)
    assert {kind: re.findall(r'"(\w+)"', names) for names, kind in found} == names_of_states()


def test_every_other_name_of_a_state_has_its_situation() -> None:
    told = set(re.findall(r"^\| ([A-Z][a-z]\w+) \| [a-z]", STATES, re.MULTILINE))
    assert told == {name for names in names_of_states().values() for name in names[1:]}


@pytest.mark.parametrize(("kind", "names"), sorted(names_of_states().items()))
def test_the_python_client_uses_these_names(kind: str, names: list[str]) -> None:
    source = ROOT / "python_client" / "flowspan"
    code = "".join(
        path.read_text()
        for name in ("core", "drivers", "results")
        for path in (source / name).rglob("*.py")
    )
    for name in names[1:]:
        assert f'"{name}"' in code, f"{kind}: {name}"
    maker = getattr(states, names[0])
    assert (maker().type.name, maker().name) == (kind, names[0])
