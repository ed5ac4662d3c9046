"""Flows, the API client and commands with access tokens, TLS and profiles."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.access import Certificates, create_token, revoke_token
from tests.support.command_process import run_cli

from flowspan import get_client
from flowspan.exceptions import ApiError, ConfigError, ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

TIMEOUT_S = 120.0
FLOW = """
from flowspan import flow, task
@task
def inc(x):
    return x + 1
@flow
def counted():
    print(sum(inc(x) for x in range(50)))
counted()
"""


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "certificates")


@pytest.fixture
def over_tls(
    start_service: Callable[..., ServiceProcess], certificates: Certificates
) -> ServiceProcess:
    return start_service(asks_over_socket=True, arguments=certificates.flags("127.0.0.1"))


def run_program(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=TIMEOUT_S,
        check=False,
    )


def completed_task_runs(service: ServiceProcess) -> int:
    with get_client(sync_client=True, address=service.socket_address) as client:
        return sum(run.state.is_completed() for run in client.read_task_runs())


def test_a_flow_reports_over_tls(over_tls: ServiceProcess, certificates: Certificates) -> None:
    env = {"FLOWSPAN_ADDRESS": over_tls.address, "FLOWSPAN_TLS_CA": str(certificates.ca)}
    done = run_program(FLOW, env=env)
    assert (done.returncode, done.stdout.strip()) == (0, "1275"), done.stderr
    assert "flowspan service" not in done.stderr
    assert completed_task_runs(over_tls) == 50


def test_large_reports_pass_over_tls(over_tls: ServiceProcess, certificates: Certificates) -> None:
    code = """
from flowspan import flow, get_run_logger
@flow
def wordy():
    logger = get_run_logger()
    for number in range(200):
        logger.info("%d %s", number, "x" * 100_000)
wordy()
"""
    env = {"FLOWSPAN_ADDRESS": over_tls.address, "FLOWSPAN_TLS_CA": str(certificates.ca)}
    done = run_program(code, env={**env, "FLOWSPAN_LOGGING_TO_CONSOLE": "false"})
    assert done.returncode == 0, done.stderr
    with get_client(sync_client=True, address=over_tls.socket_address) as client:
        (run,) = client.read_flow_runs()
        logged = [record.message for record in client.read_logs(run.id) if "xxx" in record.message]
    assert [len(message) > 100_000 for message in logged] == [True] * 200


def test_both_clients_and_commands_use_tls(
    over_tls: ServiceProcess, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWSPAN_ADDRESS", over_tls.address)
    monkeypatch.setenv("FLOWSPAN_TLS_CA", str(certificates.ca))
    with get_client(sync_client=True) as client:
        assert client.read_service_info().version
    assert over_tls.address in run_cli("server", "status")
    monkeypatch.setenv("FLOWSPAN_TLS_CA", str(Certificates.make(certificates.folder / "o").ca))
    with pytest.raises(ServiceUnavailableError, match="certificate is not accepted"):
        get_client(sync_client=True).open()


def test_the_systems_authorities_are_trusted(
    over_tls: ServiceProcess, certificates: Certificates
) -> None:
    env = {"FLOWSPAN_ADDRESS": over_tls.address, "FLOWSPAN_TLS": "true"}
    with pytest.raises(AssertionError, match="certificate is not accepted"):
        run_with(env, "server", "status")
    # OpenSSL's own variable replaces the system's authorities.
    assert run_with({**env, "SSL_CERT_FILE": str(certificates.ca)}, "server", "status")
    done = run_program(FLOW, env={**env, "SSL_CERT_FILE": str(certificates.ca)})
    assert done.returncode == 0
    assert completed_task_runs(over_tls) == 50


def run_with(env: dict[str, str], *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return run_cli(*arguments)


def test_the_name_of_the_host_must_be_in_the_certificate(
    start_service: Callable[..., ServiceProcess], certificates: Certificates
) -> None:
    service = start_service(asks_over_socket=True, arguments=certificates.flags("flows.example"))
    env = {"FLOWSPAN_ADDRESS": service.address, "FLOWSPAN_TLS_CA": str(certificates.ca)}
    with pytest.raises(AssertionError, match="IP address mismatch"):
        run_with(env, "server", "status")
    named = {**env, "FLOWSPAN_TLS_SERVER_NAME": "flows.example"}
    assert run_with(named, "server", "status")
    done = run_program(FLOW, env=named)
    assert done.returncode == 0
    assert completed_task_runs(service) == 50
    done = run_program(FLOW, env={**env, "FLOWSPAN_FLUSH_TIMEOUT_S": "1"})
    assert done.returncode == 0  # the flow runs all the same
    assert "its certificate is not accepted" in done.stderr


def test_a_service_and_a_client_that_disagree_about_tls_say_so(
    start_service: Callable[..., ServiceProcess],
    over_tls: ServiceProcess,
    certificates: Certificates,
) -> None:
    plain = start_service()
    env = {"FLOWSPAN_ADDRESS": plain.address, "FLOWSPAN_TLS_CA": str(certificates.ca)}
    with pytest.raises(AssertionError, match="does not speak TLS"):
        run_with(env, "server", "status")
    with pytest.raises(AssertionError, match="FLOWSPAN_TLS"):
        run_with({"FLOWSPAN_ADDRESS": over_tls.address}, "server", "status")


def test_mutual_tls(
    start_service: Callable[..., ServiceProcess], certificates: Certificates
) -> None:
    flags = (*certificates.flags("127.0.0.1"), "--tls-client-ca", str(certificates.ca))
    service = start_service(asks_over_socket=True, arguments=flags)
    cert, key = certificates.issue("client@example.com")
    env = {"FLOWSPAN_ADDRESS": service.address, "FLOWSPAN_TLS_CA": str(certificates.ca)}
    assert "FLOWSPAN_TLS_CLIENT_CERT" in run_with_code(env, 1, "server", "status")
    done = run_program(FLOW, env={**env, "FLOWSPAN_FLUSH_TIMEOUT_S": "1"})
    assert done.returncode == 0
    assert completed_task_runs(service) == 0
    both = {
        **env,
        "FLOWSPAN_TLS_CLIENT_CERT": str(cert),
        "FLOWSPAN_TLS_CLIENT_KEY": str(key),
        "FLOWSPAN_HOME": str(service.home.parent / "other"),
    }
    assert run_with(both, "server", "status")
    assert run_program(FLOW, env=both).returncode == 0
    assert completed_task_runs(service) == 50
    foreign = Certificates.make(certificates.folder / "foreign").issue("client@example.com")
    with pytest.raises(AssertionError):
        run_with(
            {**both, "FLOWSPAN_TLS_CLIENT_CERT": str(foreign[0]),
             "FLOWSPAN_TLS_CLIENT_KEY": str(foreign[1])},
            "server", "status",
        )  # fmt: skip


def test_a_flow_reports_with_a_token(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = start_service(asks_over_socket=True)
    secret = create_token(service.channel, "ci", "report")
    env = {"FLOWSPAN_ADDRESS": service.address, "FLOWSPAN_FLUSH_TIMEOUT_S": "1"}
    done = run_program(FLOW, env=env)
    assert done.returncode == 0  # the flow runs, and its report waits in the spool
    assert "requires an access token" in done.stderr
    assert "FLOWSPAN_TOKEN" in done.stderr
    assert completed_task_runs(service) == 0
    done = run_program(FLOW, env={**env, "FLOWSPAN_TOKEN": secret})
    assert done.returncode == 0
    assert "token" not in done.stderr
    assert completed_task_runs(service) == 100  # with those of the spool
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    assert run_program(FLOW, env={**env, "FLOWSPAN_TOKEN_FILE": str(file)}).returncode == 0
    assert completed_task_runs(service) == 150


def test_a_token_without_the_scope_cannot_report(
    start_service: Callable[..., ServiceProcess],
) -> None:
    service = start_service(asks_over_socket=True)
    secret = create_token(service.channel, "reader", "read")
    done = run_program(
        FLOW,
        env={
            "FLOWSPAN_ADDRESS": service.address,
            "FLOWSPAN_TOKEN": secret,
            "FLOWSPAN_FLUSH_TIMEOUT_S": "1",
        },
    )
    assert done.returncode == 0
    assert "lacks the scope 'report'" in done.stderr
    assert secret not in done.stderr


def test_a_flow_outlives_the_revocation_of_its_token(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = start_service(asks_over_socket=True)
    file = tmp_path / "token"
    file.write_text(create_token(service.channel, "old", "report", "admin"))
    code = """
import os, pathlib
from flowspan import flow, task, get_client
from tests.support.access import create_token, revoke_token
import grpc
@task
def inc(x):
    return x + 1
@flow
def counted():
    for number in range(20):
        inc(number)
    with grpc.insecure_channel(os.environ["SERVICE_SOCKET"]) as channel:
        new = create_token(channel, "new", "report")
        revoke_token(channel, "old")
    for number in range(20):
        inc(number)
    pathlib.Path(os.environ["FLOWSPAN_TOKEN_FILE"]).write_text(new)
    for number in range(20):
        inc(number)
counted()
"""
    env = {
        "PYTHONPATH": os.getcwd(),
        "FLOWSPAN_ADDRESS": service.address,
        "FLOWSPAN_TOKEN_FILE": str(file),
        "SERVICE_SOCKET": service.socket_address,
        "FLOWSPAN_FLUSH_TIMEOUT_S": "30",
    }
    done = run_program(code, env=env)
    assert done.returncode == 0, done.stderr
    assert completed_task_runs(service) == 60, done.stderr


def test_the_api_client_says_what_a_token_lacks(
    start_service: Callable[..., ServiceProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service(asks_over_socket=True)
    secret = create_token(service.channel, "reader", "read")
    monkeypatch.setenv("FLOWSPAN_TOKEN", secret)
    with get_client(sync_client=True, address=service.address) as client:
        assert client.read_service_info().version
        assert list(client.read_flow_runs()) == []
        with pytest.raises(ApiError, match="lacks the scope 'admin'") as raised:
            client.read_tokens()
        assert (raised.value.status, raised.value.reason, raised.value.retryable) == (
            "PERMISSION_DENIED", "MISSING_SCOPE", False
        )  # fmt: skip
        revoke_token(service.channel, "reader")
        create_token(service.channel, "another", "read")
        with pytest.raises(ApiError, match="not valid") as raised:
            client.read_service_info()
        assert raised.value.status == "UNAUTHENTICATED"
        assert "FLOWSPAN_TOKEN" in raised.value.advice
    monkeypatch.delenv("FLOWSPAN_TOKEN")
    monkeypatch.setenv("FLOWSPAN_TOKEN_FILE", "/does/not/exist")
    with (
        get_client(sync_client=True, address=service.address) as client,
        pytest.raises(ConfigError, match="/does/not/exist"),
    ):
        client.read_service_info()


def test_commands_manage_tokens(start_service: Callable[..., ServiceProcess]) -> None:
    service = start_service(asks_over_socket=True)
    socket = service.socket_address
    secret = run_cli("token", "create", "ci", "--expires", "90d", address=socket).strip()
    assert secret.startswith("fst_")
    assert "\n" not in secret
    created = json.loads(run_cli("token", "create", "me", "-s", "admin", "--json", address=socket))
    assert created["scopes"] == ["ADMIN"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWSPAN_TOKEN", created["secret"])
        shown = run_cli("token", "ls", address=service.address)
        assert "read, report" in shown
        assert secret not in shown
        assert "Revoked ci." in run_cli("token", "revoke", "ci", address=service.address)
        assert "ci" not in run_cli("token", "ls", address=service.address)
        assert "revoked" in run_cli("token", "ls", "--all", address=service.address)
    wrong = run_cli("token", "create", "x", "--scope", "all", address=socket, expected_code=2)
    assert "Choose from read, report, operate, admin" in wrong
    again = run_cli("token", "create", "me", address=socket, expected_code=1)
    assert "flowspan token revoke me" in again
    assert "there is no access token" in run_cli(
        "token", "revoke", "none", address=socket, expected_code=1
    )


def test_a_secret_is_written_into_a_private_file(
    start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    service = start_service(asks_over_socket=True)
    socket = service.socket_address
    file = tmp_path / "me.token"
    file.write_text("old")
    file.chmod(0o644)
    said = run_cli("token", "create", "me", "--file", str(file), address=socket)
    assert str(file) in said
    assert "fst_" not in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWSPAN_TOKEN_FILE", str(file))
        assert "No flow runs" in run_cli("run", "ls", address=service.address)
    # Without a file, no token is created; without a token, the file stays as it is.
    nowhere = str(tmp_path / "nowhere" / "token")
    refused = run_cli("token", "create", "x", "--file", nowhere, address=socket, expected_code=1)
    assert f"cannot write {nowhere}: No such file or directory" in refused
    folder = str(tmp_path)
    refused = run_cli("token", "create", "x", "--file", folder, address=socket, expected_code=1)
    assert "Is a directory" in refused
    written = file.read_text()
    run_cli("token", "create", "me", "--file", str(file), address=socket, expected_code=1)
    assert file.read_text() == written
    assert "me" in run_cli("token", "ls", address=socket)
    assert " x " not in run_cli("token", "ls", "--all", address=socket)
    assert [path.name for path in tmp_path.iterdir()] == ["me.token"]
    created = run_cli("token", "create", "y", "--file", str(file), "--json", address=socket)
    assert json.loads(created)["secret"] is None


def test_the_first_token_of_a_local_service(flowspan_home: Path) -> None:
    secret = run_cli("token", "create", "first", "--scope", "admin").strip()
    assert secret.startswith("fst_")
    assert "first" in run_cli("token", "ls")


def test_a_profile_gives_the_address_the_token_and_tls(
    start_service: Callable[..., ServiceProcess],
    certificates: Certificates,
    flowspan_home: Path,
    tmp_path: Path,
) -> None:
    service = start_service(asks_over_socket=True, arguments=certificates.flags("127.0.0.1"))
    file = tmp_path / "token"
    file.write_text(create_token(service.channel, "ci", "operate"))
    run_cli(
        *("profile", "set", "prod", "--address", service.address),
        *("--token-file", str(file), "--tls-ca", str(certificates.ca)),
    )
    assert stat.S_IMODE((flowspan_home / "profiles.json").stat().st_mode) == 0o600
    assert "No flow runs" in run_with({"FLOWSPAN_PROFILE": "prod"}, "run", "ls")
    run_cli("profile", "use", "prod")
    lines = [json.loads(line) for line in run_cli("profile", "ls", "--json").splitlines()]
    assert [(each["name"], each["current"]) for each in lines] == [("local", False), ("prod", True)]
    assert run_program(FLOW, env={}).returncode == 0
    assert completed_task_runs(service) == 50
    assert "profile prod" in run_cli("config", "show")
    assert "prod" in run_cli("profile", "ls")
    # The token of a profile is for its service alone.
    other = start_service(asks_over_socket=True)
    create_token(other.channel, "other", "read")
    refused = run_cli("--address", other.address, "run", "ls", expected_code=1)
    assert "requires an access token" in refused
    run_cli("profile", "use", "local")
    assert "no profile" in run_cli("profile", "use", "unknown", expected_code=1)
    unknown = run_with_code({"FLOWSPAN_PROFILE": "unknown"}, 1, "run", "ls")
    assert "there is no profile 'unknown', only local, prod" in unknown


def run_with_code(env: dict[str, str], code: int, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return run_cli(*arguments, expected_code=code)


def test_a_damaged_file_of_profiles_is_named(flowspan_home: Path) -> None:
    flowspan_home.mkdir(parents=True)
    (flowspan_home / "profiles.json").write_text("{")
    assert "profiles.json is damaged" in run_cli("profile", "ls", expected_code=1)
    assert "profiles.json is damaged" in run_cli("run", "ls", expected_code=1)


def test_a_token_is_not_shown(flowspan_home: Path) -> None:
    env = {"FLOWSPAN_TOKEN": "fst_secret", "FLOWSPAN_HOME": str(flowspan_home)}
    assert "fst_secret" not in run_with(env, "config", "show")
    assert "fst_secret" not in run_with(env, "config", "show", "--json")
    both = {**env, "FLOWSPAN_TOKEN_FILE": "/x"}
    shown = run_with_code(both, 1, "config", "show")
    assert "exclude each other" in shown
    assert "fst_secret" not in run_with_code({"FLOWSPAN_TOKEN": "fst_secret ü"}, 1, "run", "ls")
