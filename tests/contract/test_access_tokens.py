"""Access tokens over gRPC: who gets in, with which scope, and for how long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.access import (
    MISSING_SCOPE,
    UNAUTHENTICATED,
    as_another_user,
    bearer,
    create_token,
    denial_of,
    denied,
    error_info_of,
    needs_root,
    revoke_token,
)

from flowspan.v1 import (
    flow_run_service_pb2,
    report_pb2,
    report_service_pb2,
    report_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
    watch_service_pb2,
    watch_service_pb2_grpc,
)
from flowspan_service.api.services import _SERVICES
from flowspan_service.domain.tokens import Scope, granted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 30.0
SESSION = "5f0c7f0e-2d0c-4d6e-9a53-0d9b9ad3a111"


@pytest.fixture
def service(start_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return start_service(asks_over_socket=True)


@pytest.fixture
def tcp(service: ServiceProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.address) as channel:
        yield channel


def get_info(channel: grpc.Channel, secret: str | None = None) -> Any:
    metadata = () if secret is None else bearer(secret)
    return system_service_pb2_grpc.SystemServiceStub(channel).GetInfo(
        system_service_pb2.GetInfoRequest(), metadata=metadata, timeout=TIMEOUT_S
    )


def listed(service: ServiceProcess, **fields: bool) -> list[Any]:
    stub = token_service_pb2_grpc.TokenServiceStub(service.channel)
    request = token_service_pb2.ListTokensRequest(**fields)
    return list(stub.ListTokens(request, timeout=TIMEOUT_S).tokens)


def in_time(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_tcp_is_open_to_the_own_user_until_there_is_a_token(
    service: ServiceProcess, tcp: grpc.Channel
) -> None:
    assert get_info(tcp, "no token at all").version  # there is nothing to compare it with
    secret = create_token(tcp, "first", "read")
    with denied() as found:
        get_info(tcp)
    assert found == [UNAUTHENTICATED]
    assert get_info(tcp, secret).version
    assert get_info(service.channel).version  # the socket needs none
    revoke_token(service.channel, "first")
    assert get_info(tcp).version


def test_a_secret_is_long_and_random_and_not_stored(service: ServiceProcess) -> None:
    secrets = {create_token(service.channel, f"t{number}", "read") for number in range(5)}
    assert len(secrets) == 5
    for secret in secrets:
        assert secret.startswith("fst_")
        assert 56 <= len(secret) <= 64
        stored = b"".join(path.read_bytes() for path in service.home.glob("flowspan.db*"))
        assert secret.encode() not in stored
        assert secret.rpartition("_")[2].encode() not in stored
        assert secret not in service.log


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer fst_",
        "Bearer fst_x_y",
        "Bearer {changed}",
        "Bearer {shorter}",
        "Basic {secret}",
        "{secret}",
        "Bearer {secret} {secret}",
        "Bearer " + "x" * 7000,
    ],
)
def test_a_wrong_token_is_refused(service: ServiceProcess, tcp: grpc.Channel, header: str) -> None:
    secret = create_token(service.channel, "t", "admin")
    changed = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    value = header.format(secret=secret, changed=changed, shorter=secret[:-1])
    with pytest.raises(grpc.RpcError) as raised:
        system_service_pb2_grpc.SystemServiceStub(tcp).GetInfo(
            system_service_pb2.GetInfoRequest(),
            metadata=(("authorization", value),),
            timeout=TIMEOUT_S,
        )
    assert denial_of(raised.value) == UNAUTHENTICATED
    info = error_info_of(raised.value)
    assert info is not None
    assert "FLOWSPAN_TOKEN" in info.metadata["advice"]


def test_the_scheme_is_case_insensitive(service: ServiceProcess, tcp: grpc.Channel) -> None:
    secret = create_token(service.channel, "t", "read")
    stub = system_service_pb2_grpc.SystemServiceStub(tcp)
    request = system_service_pb2.GetInfoRequest()
    assert stub.GetInfo(
        request, metadata=(("authorization", f"bearer  {secret}"),), timeout=TIMEOUT_S
    ).version


def test_each_method_needs_its_scope(service: ServiceProcess, tcp: grpc.Channel) -> None:
    secrets = {
        scope: create_token(service.channel, scope.name.lower(), scope.name) for scope in Scope
    }
    checked = 0
    for name, described in _SERVICES.items():
        for method in described.protos.DESCRIPTOR.services_by_name[name].methods:
            for scope, secret in secrets.items():
                is_allowed = required(name, method.name) in granted((scope,))
                denial = denial_of_call(tcp, name, method, secret)
                what = f"{name}/{method.name} with {scope.name}"
                assert (denial == MISSING_SCOPE) is not is_allowed, f"{what}: {denial}"
                assert denial != UNAUTHENTICATED, what
                checked += 1
    assert checked > 100


def required(service_name: str, method_name: str) -> Scope:
    """Return the scope of a method by the rules of docs/security.md, not by the service's table."""
    if service_name == "TokenService":
        return Scope.ADMIN
    if service_name in ("ReportService", "SingleRunService"):
        return Scope.REPORT
    if method_name.startswith(("Delete", "Cancel")) or method_name.endswith("State"):
        return Scope.OPERATE
    if method_name.startswith(("Set", "Create", "Update")):
        return Scope.REPORT
    return Scope.READ


def denial_of_call(channel: grpc.Channel, name: str, method: Any, secret: str) -> Any:
    """Call a method with an empty request; return how it was denied, or None if it began."""
    path = f"/flowspan.v1.{name}/{method.name}"
    request = GetMessageClass(method.input_type)()
    metadata, serialize = bearer(secret), type(request).SerializeToString
    try:
        if method.client_streaming:
            call = channel.stream_stream(path, serialize)
            return next(call(iter([request]), metadata=metadata, timeout=TIMEOUT_S), None) and None
        if method.server_streaming:
            stream = channel.unary_stream(path, serialize)(
                request, metadata=metadata, timeout=TIMEOUT_S
            )
            next(stream)
            stream.cancel()
        else:
            channel.unary_unary(path, serialize)(request, metadata=metadata, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return denial_of(error)
    return None


def test_health_and_reflection_need_no_token(service: ServiceProcess, tcp: grpc.Channel) -> None:
    create_token(service.channel, "t", "admin")
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - only here
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: PLC0415
        ProtoReflectionDescriptorDatabase,
    )

    checked = health_pb2_grpc.HealthStub(tcp).Check(
        health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
    )
    assert checked.status == health_pb2.HealthCheckResponse.SERVING
    assert "flowspan.v1.TokenService" in ProtoReflectionDescriptorDatabase(tcp).get_services()


def test_a_token_expires(service: ServiceProcess, tcp: grpc.Channel) -> None:
    expire_time = Timestamp()
    expire_time.FromNanoseconds(time.time_ns() + 5_000_000_000)
    secret = create_token(service.channel, "short", "read", expire_time=expire_time)
    stream = watch_service_pb2_grpc.WatchServiceStub(tcp).Watch(
        watch_service_pb2.WatchRequest(), metadata=bearer(secret), timeout=TIMEOUT_S
    )
    with denied() as found:
        for frame in stream:
            assert frame.HasField("snapshot_end")
    assert found == [UNAUTHENTICATED]
    with denied() as found:
        get_info(tcp, secret)
    assert found == [UNAUTHENTICATED]
    with denied() as found:  # an expired token does not open the service to everyone
        get_info(tcp)
    assert found == [UNAUTHENTICATED]
    assert [token.name for token in listed(service)] == []
    assert [token.name for token in listed(service, include_ended=True)] == ["short"]
    (line,) = (line for line in service.log.splitlines() if "has expired" in line)
    assert "principal=token:short" in line


def test_a_revoked_token_ends_its_streams(service: ServiceProcess, tcp: grpc.Channel) -> None:
    secret = create_token(service.channel, "gone", "operate")
    other = create_token(service.channel, "stays", "operate")
    watch = watch_service_pb2_grpc.WatchServiceStub(tcp).Watch
    streams = [
        watch(watch_service_pb2.WatchRequest(), metadata=bearer(each), timeout=TIMEOUT_S)
        for each in (secret, other)
    ]
    is_over = threading.Event()
    reports = open_report(tcp, secret, is_over)
    assert [next(stream).HasField("snapshot_end") for stream in streams] == [True, True]
    assert next(reports).HasField("welcome")
    revoke_token(service.channel, "gone")
    for stream in (streams[0], reports):
        with denied() as found:
            next(stream)
        assert found == [UNAUTHENTICATED]
    assert streams[1].is_active()
    assert get_info(tcp, other).version
    streams[1].cancel()
    is_over.set()


def open_report(channel: grpc.Channel, secret: str, is_over: threading.Event) -> Any:
    """Open a report stream; return its answers."""
    hello = report_pb2.Hello(session_id=SESSION, client_name="test")

    def frames() -> Iterator[report_service_pb2.ReportRequest]:
        yield report_service_pb2.ReportRequest(hello=hello)
        is_over.wait(TIMEOUT_S)

    return report_service_pb2_grpc.ReportServiceStub(channel).Report(
        frames(), metadata=bearer(secret), timeout=TIMEOUT_S
    )


def test_tokens_and_their_last_use_survive_a_restart(
    service: ServiceProcess, tcp: grpc.Channel
) -> None:
    secret = create_token(service.channel, "kept", "read")
    assert not listed(service)[0].HasField("last_use_time")
    get_info(tcp, secret)
    in_time(lambda: listed(service)[0].HasField("last_use_time"))
    service.restart()
    with grpc.insecure_channel(service.address) as again:
        assert get_info(again, secret).version
        with denied() as found:
            get_info(again)
    assert found == [UNAUTHENTICATED]


def test_names_are_unique_among_the_tokens_in_use(service: ServiceProcess) -> None:
    create_token(service.channel, "ci", "read")
    with denied() as found:
        create_token(service.channel, "ci", "read")
    assert found == [(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")]
    revoke_token(service.channel, "ci")
    revoke_token(service.channel, "ci")  # idempotent
    create_token(service.channel, "ci", "report", "report", "read")
    (token,) = listed(service)
    assert (token.name, list(token.scopes)) == ("ci", [1, 2])
    assert len(listed(service, include_ended=True)) == 2
    with denied() as found:
        revoke_token(service.channel, "unknown")
    assert found == [(grpc.StatusCode.NOT_FOUND, "NOT_FOUND")]


@pytest.mark.parametrize(
    ("name", "scopes", "fields"),
    [
        ("", ["read"], {}),
        ("two words", ["read"], {}),
        ("x" * 65, ["read"], {}),
        ("-x", ["read"], {}),
        ("größe", ["read"], {}),
        ("x", [], {}),
        ("x", ["unspecified"], {}),
        ("x", ["read"], {"expire_time": Timestamp(seconds=1)}),
        ("x", ["read"], {"expire_time": Timestamp(seconds=10**12)}),
        ("x", ["read"], {"max_calls_per_second": -1.0}),
        ("x", ["read"], {"max_calls_per_second": float("nan")}),
        ("x", ["read"], {"max_calls_per_second": float("inf")}),
        ("x", ["read"], {"max_request_bytes": 5}),
    ],
)
def test_a_bad_request_creates_no_token(
    service: ServiceProcess, name: str, scopes: list[str], fields: dict[str, Any]
) -> None:
    with denied() as found:
        create_token(service.channel, name, *scopes, **fields)
    assert found[0][0] is grpc.StatusCode.INVALID_ARGUMENT
    assert listed(service, include_ended=True) == []


def test_a_token_limits_the_calls(service: ServiceProcess, tcp: grpc.Channel) -> None:
    slow = create_token(service.channel, "slow", "read", max_calls_per_second=0.02)
    quick = create_token(service.channel, "quick", "read")
    get_info(tcp, slow)
    with denied() as found:
        get_info(tcp, slow)
    assert found == [(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")]
    for _ in range(20):
        get_info(tcp, quick)


def test_a_token_limits_the_size(service: ServiceProcess, tcp: grpc.Channel) -> None:
    secret = create_token(service.channel, "small", "operate", max_request_bytes=1024)
    request = flow_run_service_pb2.ListFlowRunsRequest()
    request.filter.function_names.extend(f"{number:0200d}" for number in range(10))
    with denied() as found:
        tcp.unary_unary(
            "/flowspan.v1.FlowRunService/ListFlowRuns",
            type(request).SerializeToString,
        )(request, metadata=bearer(secret), timeout=TIMEOUT_S)
    assert found == [(grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")]
    frames = iter(
        [
            report_service_pb2.ReportRequest(
                hello=report_pb2.Hello(session_id=SESSION, client_name="x" * 2000)
            )
        ]
    )
    with denied() as found:
        list(
            report_service_pb2_grpc.ReportServiceStub(tcp).Report(
                frames, metadata=bearer(secret), timeout=TIMEOUT_S
            )
        )
    assert found == [(grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")]


def test_denied_and_administrative_calls_are_logged(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(asks_over_socket=True, arguments=("--log-format", "json"))
    secret = create_token(service.channel, "reader", "read")
    with grpc.insecure_channel(service.address) as tcp:
        for _ in range(3):  # which leave one line
            with denied():
                revoke_with(tcp, secret)
        with denied():
            get_info(tcp)
        get_info(tcp, secret)
    lines = [line for line in service.log.splitlines() if "flowspan.audit" in line]
    assert len(lines) == 3
    created, refused, unknown = lines
    assert "TokenService/CreateToken" in created
    assert '"principal": "owner"' in created
    assert '"target_name": "reader"' in created
    assert "TokenService/RevokeToken" in refused
    assert "token:reader" in refused
    assert "MISSING_SCOPE" in refused
    assert "UNAUTHENTICATED" in unknown
    assert "ipv4:127.0.0.1" in unknown
    assert secret not in service.log


def revoke_with(channel: grpc.Channel, secret: str) -> None:
    request = token_service_pb2.RevokeTokenRequest(token="reader")
    token_service_pb2_grpc.TokenServiceStub(channel).RevokeToken(
        request, metadata=bearer(secret), timeout=TIMEOUT_S
    )


@needs_root
def test_another_user_of_the_machine_gets_in_with_a_token_only(service: ServiceProcess) -> None:
    with as_another_user(service.port) as address, grpc.insecure_channel(address) as other:
        with denied() as found:
            get_info(other)
        assert found == [UNAUTHENTICATED]
        with denied() as found:
            create_token(other, "mine", "admin")
        assert found == [UNAUTHENTICATED]
        secret = create_token(service.channel, "yours", "read")
        assert get_info(other, secret).version
    assert "This service belongs to another user" in service.log


@needs_root
def test_an_insecure_service_asks_nobody(start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(arguments=("--insecure",))
    with as_another_user(service.port) as address, grpc.insecure_channel(address) as other:
        assert get_info(other).version


def test_tokens_can_be_required_from_the_start(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(arguments=("--require-tokens",), asks_over_socket=True)
    with grpc.insecure_channel(service.address) as tcp:
        with denied() as found:
            get_info(tcp)
        assert found == [UNAUTHENTICATED]
        assert get_info(tcp, create_token(service.channel, "first", "read")).version


def test_the_other_services_on_the_database_follow(
    postgres_url: str, start_service: Callable[..., ServiceProcess], short_tmp_path: Path
) -> None:
    services = []
    for name in ("one", "other"):
        home = short_tmp_path / name
        flags = ("--socket", str(home / "service.sock"))
        services.append(
            start_service(
                home=home,
                db=postgres_url,
                arguments=flags,
                asks_over_socket=True,
                check_history=name == "one",
            )
        )
    one, other = services
    secret = create_token(one.channel, "shared", "read")
    with grpc.insecure_channel(other.address) as tcp:
        in_time(lambda: is_refused(tcp))
        watch = watch_service_pb2_grpc.WatchServiceStub(tcp).Watch(
            watch_service_pb2.WatchRequest(), metadata=bearer(secret), timeout=TIMEOUT_S
        )
        assert next(watch).HasField("snapshot_end")
        revoke_token(one.channel, "shared")
        with denied() as found:
            next(watch)
        assert found == [UNAUTHENTICATED]


def is_refused(channel: grpc.Channel) -> bool:
    try:
        get_info(channel)
    except grpc.RpcError as error:
        return denial_of(error) == UNAUTHENTICATED
    return False
