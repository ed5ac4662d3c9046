"""`flowspan migrate`: its report about a program, and its changes to the file."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from scripts import migrating_names
from tests.support.cli import flowspan

from flowspan.migrating.names import fact, import_fact
from flowspan.migrating.programs import migrated

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def said(path: Path, text: str, *options: str) -> list[str]:
    """Return the lines that the command prints about a program, without indentation."""
    outcome = flowspan("migrate", str(write(path, text)), *options, code=None)
    return [line.strip() for line in outcome.lines[1:] if line.startswith("  ")]


def test_the_command_knows_what_the_page_says() -> None:
    known = migrating_names.TARGET.read_text(encoding="utf-8")
    assert known == migrating_names.text(), "run: python scripts/migrating_names.py"


def test_names_are_sorted_by_line_into_what_works_and_what_does_not(tmp_path: Path) -> None:
    lines = said(
        tmp_path / "a.py",
        """\
        import os
        from prefect import flow, task, serve
        from prefect.blocks.system import Secret
        from prefect_aws import S3Bucket
        """,
    )
    assert lines[0] == "2  works   flow, task"
    assert lines[1].startswith("2  missing serve: flowspan has no deployments yet. ")
    assert lines[2].startswith("3  missing blocks.system.Secret: ")
    assert lines[3].startswith("4  missing prefect_aws: ")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("@flow(result_storage=1)\ndef f(): ...", "differs @flow(result_storage=…)"),
        ("@task(asset_deps=[])\ndef f(): ...", "missing @task(asset_deps=…)"),
        ("@flow\ndef f(): ...\nf.serve()", "missing f.serve"),
        ("@flow()\ndef f(): ...\ndef g():\n    f.deploy()", "missing f.deploy"),
        ("def g():\n    f.to_deployment()\n@flow\ndef f(): ...", "missing f.to_deployment"),
        ("x = flow(print)\nx.serve()", "missing x.serve"),
        ("x = flow(print).with_options(name='y')\nx.serve()", "missing x.serve"),
        ("flow(print).serve()", "missing Flow.serve"),
        ("t = task(name='a')(print)\nt.delay()", "missing t.delay"),
        ("with get_client(sync_client=True) as c:\n    c.create_work_pool()", "missing c."),
        (
            "async def f():\n    async with get_client() as c:\n        c.read_events()",
            "missing c.",
        ),
        ("os.environ['PREFECT_API_URL'] = 'x'", "renamed PREFECT_API_URL"),
        ("os.environ['PREFECT_API_KEY'] = 'x'", "renamed PREFECT_API_KEY: FLOWSPAN_TOKEN"),
        ("os.environ['PREFECT_NO_SUCH'] = 'x'", "missing PREFECT_NO_SUCH"),
        (
            "monkeypatch.setenv('PREFECT__RUNTIME__FLOW_RUN__NAME', 'x')",
            "renamed PREFECT__RUNTIME__FLOW_RUN__NAME: FLOWSPAN__RUNTIME__FLOW_RUN__NAME",
        ),
        ("logging.getLogger('prefect.flow_runs')", "differs 'prefect.flow_runs'"),
        ("logging.getLogger('prefect')", "differs 'prefect'"),
        ("mock.patch('prefect.flow')", "differs 'prefect.flow'"),
        ("x: 'list[prefect.flows.Flow]'", "differs 'prefect.flows.Flow'"),
        ("from prefect.settings import PREFECT_API_KEY", "missing settings.PREFECT_API_KEY: "),
        ("from prefect.settings import PREFECT_API_URL", "differs settings.PREFECT_API_URL: "),
        ("import prefect as p\np.serve()", "missing serve"),
        ("import prefect.deployments as d", "missing deployments"),
        ("import prefect\nprefect.runtime.deployment.id", "differs runtime.deployment.id"),
        ("import prefect\nprefect.no_such.thing()", "missing no_such.thing"),
        ("from prefect import *", "differs *"),
        ("import prefect_dask", "missing prefect_dask: no task runner for it yet"),
    ],
)
def test_uses_are_found(tmp_path: Path, text: str, line: str) -> None:
    imports = "import os, logging\nfrom unittest import mock\n"
    imports += "from prefect import flow, get_client, task\n"
    lines = said(tmp_path / "a.py", imports + text, "--problems")
    assert [found for found in lines if line in found], lines


@pytest.mark.parametrize(
    "text", ["task(print)(1).startswith('x')", "flow(print, name='x')().serve", "f = flow\nf().x"]
)
def test_what_flows_and_tasks_return_is_not_looked_at(tmp_path: Path, text: str) -> None:
    imports = "from prefect import flow, task\n"
    assert said(tmp_path / "a.py", imports + text, "--problems") == []


@pytest.mark.parametrize(
    "text",
    [
        "from prefectural import flow",
        "from .prefect import flow",
        "from . import prefect\nprefect.serve()",
        "prefect = 1\nprefect.real",
        "def f(prefect):\n    return prefect.serve",
        "name = 'prefect'",
        "# prefect",
        "labels = {'prefect.resource.id': 'prefect.flow-run.1'}",
        "from prefect_utils import flow",
        "flow = make()\nflow.serve()",
        "print('prefect')",
        "class C:\n    def prefect(self): ...",
    ],
)
def test_what_is_not_prefects_is_left_alone(tmp_path: Path, text: str) -> None:
    assert said(tmp_path / "a.py", text) == []
    assert migrated(text) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from prefect import flow, task", "from flowspan import flow, task"),
        ("from prefect import flow as f", "from flowspan import flow as f"),
        ("from prefect.futures import wait", "from flowspan.futures import wait"),
        ("from prefect.runtime import flow_run", "from flowspan.runtime import flow_run"),
        ("import prefect\nprefect.flow", "import flowspan\nflowspan.flow"),
        ("import prefect as p\np.flow", "import flowspan as p\np.flow"),
        ("import prefect.states as s\ns.Failed", "import flowspan.states as s\ns.Failed"),
        ("import os, prefect, json", "import os, flowspan, json"),
        ("import prefect.runtime\nprefect.runtime", "import flowspan.runtime\nflowspan.runtime"),
        ("import prefect\nprint(prefect)", "import flowspan\nprint(flowspan)"),
        ("def f():\n import prefect\n prefect.task", "def f():\n import flowspan\n flowspan.task"),
        ("if x: import prefect; prefect.task", "if x: import flowspan; flowspan.task"),
        ("from prefect import flow, serve", "from flowspan import flow\nfrom prefect import serve"),
        ("from prefect import serve", "from prefect import serve"),
        ("from prefect import *", "from flowspan import *"),
        (
            "import prefect.states as st\nst.Failed\ndef f():\n import prefect.blocks.system\n"
            " prefect.blocks.system.Secret",
            "import flowspan.states as st\nst.Failed\ndef f():\n import prefect.blocks.system\n"
            " prefect.blocks.system.Secret",
        ),
        (
            "from prefect.testing.utilities import prefect_test_harness",
            "from flowspan.testing.utilities import prefect_test_harness",
        ),
        (
            "import prefect\nprefect.flow\nprefect.serve",
            "import flowspan\nimport prefect\nflowspan.flow\nprefect.serve",
        ),
        (
            "import prefect as p\np.flow\np.serve",
            "import flowspan as p\nimport prefect\np.flow\nprefect.serve",
        ),
        (
            "import prefect.blocks\nprefect.flow\nprefect.blocks",
            "import prefect.blocks, flowspan\nflowspan.flow\nprefect.blocks",
        ),
        ("import prefect.deployments as d\nd.x", "import prefect.deployments as d\nd.x"),
        (
            "try:\n    import prefect\nexcept ImportError:\n    prefect = None\nprefect.flow",
            "try:\n    import flowspan as prefect\nexcept ImportError:\n    prefect = None\n"
            "prefect.flow",
        ),
        (
            "import prefect\ndef flowspan(): prefect.flow",
            "import flowspan as prefect\ndef flowspan(): prefect.flow",
        ),
        (
            "from prefect import (\n    flow,  # a\n    serve,  # b\n    task,  # c\n)",
            "from flowspan import (\n    flow,  # a\n    task,  # c\n)\n"
            "from prefect import (\n    serve,  # b\n)",
        ),
        (
            "from prefect import (\n    flow,  # a\n    serve,\n)  # z",
            "from flowspan import (\n    flow,  # a\n)\nfrom prefect import (\n    serve,\n)  # z",
        ),
        (
            "# first\nfrom prefect import flow, serve  # last",
            "# first\nfrom flowspan import flow\nfrom prefect import serve  # last",
        ),
        ("import prefect\nf'{prefect.__version__}'", "import flowspan\nf'{flowspan.__version__}'"),
    ],
)  # fmt: skip
def test_imports_are_changed_and_nothing_else(before: str, after: str) -> None:
    changed = migrated(before)
    assert changed == after
    compile(changed, "changed", "exec")
    assert migrated(changed) == changed


def test_a_flow_is_known_where_another_file_imports_it(tmp_path: Path) -> None:
    write(
        tmp_path / "shop" / "flows" / "etl.py",
        """\
        from prefect import flow, task
        @flow
        def load(): ...
        @task
        def fetch(): ...
        def plain(): ...
        """,
    )
    write(tmp_path / "shop" / "flows" / "__init__.py", "from .etl import fetch, load, plain\n")
    write(tmp_path / "shop" / "__init__.py", "from .flows import load as nightly\n")
    write(
        tmp_path / "deploy.py",
        """\
        from shop import nightly
        from shop.flows.etl import load, plain
        from shop import flows
        import shop.flows.etl
        import shop.flows as f
        nightly.serve()
        load.deploy()
        flows.fetch.delay()
        shop.flows.etl.load.to_deployment()
        f.load.from_source()
        plain.serve()
        """,
    )
    write(tmp_path / "shop" / "more.py", "from .flows import etl\netl.load.serve()\n")
    outcome = flowspan("migrate", str(tmp_path), "--problems", "--json", code=1)
    found = [(each["name"], each["word"]) for each in outcome.objects]
    names = [
        "nightly.serve",
        "load.deploy",
        "flows.fetch.delay",
        "shop.flows.etl.load.to_deployment",
    ]
    names += ["f.load.from_source", "etl.load.serve"]
    assert found == [(name, "missing") for name in names]


def test_nothing_is_missing_without_a_note() -> None:
    tables = migrating_names.tables()
    modules = [group for group in tables if group.replace(".", "_").isidentifier()]
    facts = [import_fact(f"prefect.{group}.{name}") for group in modules for name in tables[group]]
    facts += [
        each
        for group, names in tables.items()
        for each in (fact(group, name) for name in names)
        if each is not None
    ]
    notes = {each.note for each in facts if each.word == "missing"}
    assert not notes & {"", "no", "later"}
    assert not [note for note in notes if note.startswith(("no: ", "later"))]


def test_the_homes_of_a_name_have_one_note() -> None:
    for names in (
        ["get_client", "client.get_client", "client.orchestration.get_client"],
        ["client.schemas.FlowRun", "client.schemas.objects.FlowRun"],
        ["serve", "flows.serve"],
        ["flow.from_source", "flows.flow.from_source", "Flow.from_source", "flows.Flow.serve"],
        ["Task.delay", "tasks.Task.delay", "tasks.task.apply_async"],
        ["pause_flow_run", "flow_runs.pause_flow_run"],
    ):
        facts = {(each.word, each.note) for each in (import_fact(f"prefect.{n}") for n in names)}
        assert len(facts) == 1, names


def test_without_write_nothing_is_changed_and_with_it_only_the_files_that_use_prefect(
    tmp_path: Path,
) -> None:
    using = write(tmp_path / "flows" / "a.py", "from prefect import flow\n")
    other = write(tmp_path / "flows" / "b.py", "from os import path\n")
    times = [path.stat().st_mtime_ns for path in (using, other)]

    outcome = flowspan("migrate", str(tmp_path))
    assert "Use --write to rewrite the imports" in outcome.out
    assert [path.stat().st_mtime_ns for path in (using, other)] == times

    outcome = flowspan("migrate", str(tmp_path), "--write")
    assert "Changed the imports of 1 file." in outcome.out
    assert using.read_text(encoding="utf-8") == "from flowspan import flow\n"
    assert other.stat().st_mtime_ns == times[1]
    assert "No use of Prefect in 2 files." in flowspan("migrate", str(tmp_path)).out


def test_environments_hidden_folders_and_packages_are_not_read(tmp_path: Path) -> None:
    for folder in (".git", "env/lib", "node_modules", "site-packages", "__pycache__"):
        write(tmp_path / folder / "a.py", "import prefect\n")
    write(tmp_path / "env" / "pyvenv.cfg", "")
    write(tmp_path / "notes.txt", "import prefect\n")
    assert "No use of Prefect in 0 files." in flowspan("migrate", str(tmp_path)).out


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", "import prefect\n")
    (tmp_path / "link.py").symlink_to(path)
    outcome = flowspan("migrate", str(tmp_path), str(path), str(tmp_path / "link.py"))
    assert "Files that use Prefect: 1 of 1." in outcome.out


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        (b"from prefect import flow\r\nx = 1\r\n", b"from flowspan import flow\r\nx = 1\r\n"),
        (b"from prefect import flow", b"from flowspan import flow"),
        (b"\xef\xbb\xbfimport prefect\n", b"\xef\xbb\xbfimport flowspan\n"),
        (
            "# coding: latin-1\nimport prefect\nx = 'ä'\n".encode("latin-1"),
            "# coding: latin-1\nimport flowspan\nx = 'ä'\n".encode("latin-1"),
        ),
        (b"if x:\n\timport prefect\n", b"if x:\n\timport flowspan\n"),
    ],
    ids=["crlf", "no newline", "bom", "latin-1", "tabs"],
)
def test_encoding_and_line_ends_stay(tmp_path: Path, content: bytes, changed: bytes) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(content)
    flowspan("migrate", str(path), "--write")
    assert path.read_bytes() == changed


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", "import prefect\n")
    path.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(path)
    flowspan("migrate", str(link), "--write")
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o755
    assert sorted(os.listdir(tmp_path)) == ["a.py", "link"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"import prefect\ndef f(:\n", "line 2 is not valid Python"),
        (b"import prefect\nx = '\xff'\n", "line 2 is not valid Python"),
        (b"# coding: nonsense\nimport prefect\n", "it is not valid Python"),
        (b"import prefect\nx = " + b"(" * 5000 + b")" * 5000, "line 2 is not valid Python"),
        (b"import prefect\nx = 1" + b" + 1" * 20_000, "nested too deeply"),
        (b"import prefect\nx = a" + b".b()" * 2000, "nested too deeply"),
    ],
    ids=["syntax", "not UTF-8", "no such encoding", "brackets", "operators", "calls"],
)
def test_one_file_that_cannot_be_read_does_not_stop_the_others(
    tmp_path: Path, content: bytes, words: str
) -> None:
    bad, good = tmp_path / "a.py", write(tmp_path / "b.py", "import prefect\n")
    bad.write_bytes(content)
    outcome = flowspan("migrate", str(tmp_path), "--write", code=1)
    assert words in outcome.err
    assert bad.read_bytes() == content
    assert good.read_text(encoding="utf-8") == "import flowspan\n"


def test_json_has_an_object_for_each_use(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py", "from prefect import flow, serve\n")
    outcome = flowspan("migrate", str(path), "--json", code=1)
    assert outcome.objects == [
        {"file": str(path), "line": 1, "column": 21, "name": "prefect.flow", "word": "works",
         "note": ""},
        {"file": str(path), "line": 1, "column": 27, "name": "prefect.serve", "word": "missing",
         "note": "flowspan has no deployments yet. Call the flow, for example from cron or a "
         "Kubernetes CronJob"},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nothing.py", "x" * 5000])
def test_a_path_that_is_not_there_is_a_usage_error(tmp_path: Path, name: str) -> None:
    outcome = flowspan("migrate", str(tmp_path / name), code=2)
    assert "does not exist" in outcome.err


@pytest.mark.parametrize("text", ["", "  "])
def test_a_blank_path_is_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = write(tmp_path / "a.py", "from prefect import flow\n")
    monkeypatch.chdir(tmp_path)
    outcome = flowspan("migrate", "a.py", text, "--write", code=2)
    assert outcome.out == ""
    assert "prefect" in path.read_text(encoding="utf-8")


def test_without_libcst_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['libcst'] = None\n"
        "from flowspan.cli.main import app; app(['migrate', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(write(tmp_path / "a.py", "import prefect\n"))],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'flowspan[migrate]'" in done.stderr
