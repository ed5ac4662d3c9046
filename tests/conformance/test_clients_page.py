"""The programs of docs/clients.md, run with the commands of the page against the real service.

What a reader does once for all programs is left out: installing Python packages, building the
clients, which the suite does itself (`languages.py`), and starting the service.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.idiom.record import Record
from tests.conformance.languages import (
    BUILT,
    GO,
    JAVA,
    PYTHON,
    ROOT,
    TYPESCRIPT,
    Language,
    build,
    selected,
)
from tests.support.run_queries import flow_runs, logs

from flowspan.v1 import system_service_pb2, system_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.service import ServiceProcess

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
TIMEOUT_S = 250
NAMED = re.compile(r"\A(?://|#|<!--) ([\w.]+)(?: -->)?\n")
"""The first line of a program, which names its file."""


@dataclass(frozen=True)
class Section:
    """A section of the page with a program.

    Attributes:
        title: Its heading.
        language: The language whose client it uses, which the suite must have built; None if it
            uses none.
        tools: The programs that must be installed.
        replaced: Beginnings of commands, and what is run instead ("" for nothing).
    """

    title: str
    language: Language | None = None
    tools: tuple[str, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The text of the section."""
        _, found, rest = PAGE.partition(f"\n### {self.title}\n")
        assert found, f"docs/clients.md has no section {self.title}"
        return re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]

    def blocks(self, kind: str) -> list[str]:
        """Return the code blocks of a language."""
        return re.findall(rf"^```{kind}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def files(self) -> dict[str, str]:
        """Return the files of the section, by name."""
        found = {}
        for block in self.blocks(r"\w+"):
            name = NAMED.match(block)
            if name is not None:
                found[name[1]] = block
        return found

    def commands(self) -> list[str]:
        """Return the commands of the section, as the test runs them."""
        (console,) = self.blocks("console")
        commands = re.findall(r"^\$ (.*)$", console, re.MULTILINE)
        for beginning, instead in self.replaced:
            assert any(each.startswith(beginning) for each in commands), beginning
            commands = [
                instead + each.removeprefix(beginning) if each.startswith(beginning) else each
                for each in commands
            ]
        return [each for each in commands if not each.startswith(":")]


QUIET = f"-Dlogback.configurationFile={ROOT}/tests/conformance/drivers/logback.xml"
SECTIONS = (
    Section(
        "Python",
        PYTHON,
        replaced=(("python3 -m venv", ":"), (".venv/bin/python ", f"{sys.executable} ")),
    ),
    Section("Bash with curl", tools=("bash", "curl", "jq")),
    Section("Go", GO),
    Section("TypeScript", TYPESCRIPT, replaced=(("npm --prefix $repo/clients/typescript", ":"),)),
    Section(
        "Java",
        JAVA,
        replaced=(
            ("$repo/clients/java/mvnw", ":"),
            # The suite has Logback, which logs everything to standard output if it is not set up.
            ("java -cp 'lib/*' ", f'java -cp "$(cat {BUILT}/java/classpath)" {QUIET} '),
        ),
    ),
    Section("grpcurl", GO, tools=("bash", "jq"), replaced=(("go install", ":"),)),
)
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@latest"
RECORD: list[dict[str, Any]] = [
    {
        "flow": "forecast",
        "history": "Pending Running Completed",
        "parameters": {"city": "Köln"},
        "calls": [
            {"task": "advise", "history": "Pending Running Completed"},
            {
                "task": "fetch",
                "history": "Pending Running AwaitingRetry(Scheduled) 2:Retrying(Running)"
                " 2:Completed",
            },
        ],
    }
]
FORECAST = "Köln: 21 °C, no coat"
RESULTS = {"Go", "TypeScript", "Java", "Bash with curl", "grpcurl"}
"""The programs whose client stores results as JSON; in Python, a result storage has them."""


def with_tools(section: Section) -> str:
    """Return the PATH of a section; skip the test if something is not installed."""
    if section.language is not None:
        if section.language not in selected():
            pytest.skip(f"{section.language.title} is not selected")
        if section.language.problem:
            pytest.skip(section.language.problem)
        build(section.language)
    missing = [tool for tool in section.tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    path = os.environ["PATH"]
    if section.title == "grpcurl":
        tools = BUILT / "bin"
        if shutil.which("grpcurl") is None and not (tools / "grpcurl").is_file():
            environ = {**os.environ, "GOBIN": str(tools)}
            subprocess.run(["go", "install", GRPCURL], env=environ, check=True, timeout=TIMEOUT_S)
        path = f"{path}:{tools}"
    return path


def write_files(section: Section, folder: Path) -> None:
    """Write the files of a section; grpcurl's are those of bash, with another `call`."""
    files = section.files()
    if section.title == "grpcurl":
        (call,) = section.blocks("bash")
        (bash,) = (each for each in SECTIONS if each.title == "Bash with curl")
        original = r"^call\(\) \{.*?^\}\n"
        files = {
            name: re.sub(original, lambda _: call, text, flags=re.DOTALL | re.MULTILINE)
            for name, text in bash.files().items()
        }
        assert "curl --silent" not in "".join(files.values())
    assert files
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def http_url(service: ServiceProcess) -> str:
    stub = system_service_pb2_grpc.SystemServiceStub(service.channel)
    return str(stub.GetInfo(system_service_pb2.GetInfoRequest()).http_address)


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each.title)
def test_program_does_what_the_page_says(
    section: Section, start_service: Callable[..., ServiceProcess], tmp_path: Path
) -> None:
    path = with_tools(section)
    folder = tmp_path / "forecast"
    folder.mkdir()
    write_files(section, folder)
    service = start_service(arguments=("--http-port", "0"))
    script = "\n".join(section.commands())
    assert " Ulm" in script
    script = script.replace(" Ulm", " Köln").replace("127.0.0.1:4600", service.address)
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "repo": str(ROOT),
            "FLOWSPAN_ADDRESS": service.address,
            "FLOWSPAN_HTTP": http_url(service),
            "PYTHONUTF8": "1",
            "JAVA_TOOL_OPTIONS": "-Dstdout.encoding=UTF-8 -Dsun.jnu.encoding=UTF-8",
            "LC_ALL": "C.UTF-8",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    (run,) = flow_runs(service.channel)
    assert done.stdout.splitlines()[-2:] == [FORECAST, f"{run.id} Completed"], done
    assert Record(service.channel).trees() == RECORD
    messages = [record.message for record in logs(service.channel, run.id)]
    assert "Köln has 21 °C" in messages
    if section.title in RESULTS:
        assert json.loads(run.state.result.data) == FORECAST


def test_every_program_of_the_page_is_run() -> None:
    programs = PAGE.partition("\n## The same program in each language\n")[2].partition("\n## ")[0]
    titles = re.findall(r"^### (.*)$", programs, re.MULTILINE)
    assert sorted(titles) == sorted(section.title for section in SECTIONS)


def test_java_section_has_the_coordinates_of_the_client() -> None:
    (pom,) = (section.files()["pom.xml"] for section in SECTIONS if section.title == "Java")
    parent = (ROOT / "clients" / "java" / "pom.xml").read_text(encoding="utf-8")
    client = (ROOT / "clients" / "java" / "client" / "pom.xml").read_text(encoding="utf-8")
    (version,) = re.findall(r"flowspan-parent</artifactId>\s*<version>([^<]+)", parent)
    (slf4j,) = re.findall(r"<slf4j.version>([^<]+)", parent)
    assert re.findall(r"<groupId>([^<]+)", client)[0] == "dev.flowspan"
    assert "<artifactId>flowspan-client</artifactId>" in client
    assert re.findall(r"<(groupId|artifactId|version)>([^<]+)", pom) == [
        ("groupId", "com.example"),
        ("artifactId", "forecast"),
        ("version", "1"),
        ("groupId", "dev.flowspan"),
        ("artifactId", "flowspan-client"),
        ("version", version),
        ("groupId", "org.slf4j"),
        ("artifactId", "slf4j-simple"),
        ("version", slf4j),
    ]
