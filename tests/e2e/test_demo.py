"""The first example and the demo, as readers run them: without any configuration."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.cli import flowspan, on_terminal
from tests.support.flow_processes import run_code

EXAMPLES = Path(__file__).parents[2] / "examples"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
TIMEOUT_S = 120


def run_example(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def newest_run() -> dict:
    (tree,) = flowspan("run", "show", "latest", "--json").objects
    assert tree["state"]["type"] == "COMPLETED"
    return tree


def test_hello():
    assert run_example("hello.py", "Ada").splitlines()[-1] == "HELLO, ADA!"
    tree = newest_run()
    assert tree["parameters"] == {"name": "Ada"}
    assert [child["task_name"] for child in tree["children"]] == ["compose", "emphasize"]
    logs = flowspan("run", "logs", "latest").out
    assert "emphasizing 'Hello, Ada!'" in logs
    assert "11 letters" in logs


@pytest.mark.slow
def test_the_census_of_real_packages():
    out = run_example("stdlib_census.py", "--packages", "2", "--seed", "1")
    total = re.search(r"^all +([\d,]+) +([\d,]+)", out, re.MULTILINE)
    assert total, out
    files = int(total[1].replace(",", ""))
    assert int(total[2].replace(",", "")) > files
    assert "The most complex functions:" in out

    tree = newest_run()
    run_id = tree["id"]
    assert f"run     {run_id}" in out
    assert f"flowspan run show {run_id[-8:]}" in out
    assert "trace   none" in out
    assert tree["parameters"]["packages"] == 2
    packages = [child for child in tree["children"] if child["kind"] == "flow_run"]
    assert len(packages) == 2
    parsed = [task for package in packages for task in package["children"]]
    assert len(parsed) == files
    assert {task["state"]["type"] for task in parsed} == {"COMPLETED"}
    assert any(task["attempt"] > 1 for task in parsed)

    logs = [record["message"] for record in flowspan("run", "logs", "latest", "--json").objects]
    assert any("lines in" in message for message in logs)
    assert any("the mirror hung up" in message for message in logs)


SMALL_LIBRARY = """
    import sys
    from pathlib import Path

    sys.path.insert(0, {examples!r})
    import stdlib_census

    stdlib_census.STDLIB = Path({library!r})
    sys.argv = ["stdlib_census.py", "--seed", "7", "--workers", "2"]
    sys.exit(stdlib_census.main())
"""


@pytest.fixture
def small_library(tmp_path):
    """Return a library with every construct that makes parsing hard."""
    files = {
        "plain.py": b"def f(x):\n    if x and x > 1:\n        return [y for y in x if y]\n",
        "empty.py": b"",
        "package/latin.py": "# coding: latin-1\nclass Ü:\n    pass\n".encode("latin-1"),
        "package/marked.py": "\ufeffdef ä(): pass".encode(),
        "package/deep/er/nested.py": b"async def g():\n    async for _ in h(): pass\n",
        "bad/syntax.py": b"print 'hello'\n",
        "bad/undeclared.py": "# coding: ascii\nname = 'ü'\n".encode(),
        "bad/unknown.py": b"# coding: uft-8\n",
        "bad/nul.py": b"x = 1\x00\n",
        "test/test_it.py": b"def not_counted(): pass\n",
        "site-packages/other.py": b"def not_counted(): pass\n",
    }
    for name, content in files.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "library"


def test_the_census_of_difficult_files(small_library, flowspan_home):
    code = SMALL_LIBRARY.format(examples=str(EXAMPLES), library=str(small_library))
    out = run_code(code, home=flowspan_home)
    assert re.search(r"^bad +4 +0 +0 +0$", out, re.MULTILINE)
    assert re.search(r"^package +3 +6 +2 +1$", out, re.MULTILINE)
    assert re.search(r"^\(modules\) +2 +3 +1 +0$", out, re.MULTILINE)
    assert re.search(r"^all +9 +9 +3 +1$", out, re.MULTILINE)
    assert "     4  plain.py:f\n" in out
    assert "4 files cannot be parsed:" in out
    for name in ("syntax", "undeclared", "unknown", "nul"):
        assert f"bad/{name}.py: " in out


def test_the_same_seed_draws_the_same_failures(small_library, flowspan_home):
    code = SMALL_LIBRARY.format(examples=str(EXAMPLES), library=str(small_library)).replace(
        "import stdlib_census\n", "import stdlib_census\n    stdlib_census.FAILURE_RATE = 0.4\n"
    )
    attempts = []
    for _ in range(2):
        run_code(code, home=flowspan_home)
        tasks = flowspan("task", "ls", "--task", "parse_file", "--json", "--limit", "9").objects
        attempts.append(
            sorted((task["name"], task["flow_run_id"], task["attempt"]) for task in tasks)
        )
    drawn = [sorted(attempt for _, _, attempt in of_run) for of_run in attempts]
    assert drawn[0] == drawn[1]
    assert max(drawn[0]) > 1


@pytest.mark.slow
def test_the_census_on_a_terminal_shows_a_live_tree():
    shown = on_terminal(
        [sys.executable, str(EXAMPLES / "stdlib_census.py"), "--packages", "12"],
        columns=100,
        rows=60,
    )
    assert shown.code == 0, shown.out
    text = ESCAPE.sub("", shown.out)
    assert "▸ Running" in text
    assert re.search(r"└─ parse_file ×\d+", text)
    assert "━" in text
    assert text.rindex("The most complex functions:") > text.rindex("└─ parse_file")
    assert "stdlib-census" in text.splitlines()[-6]
    assert "✓ Completed in" in text
