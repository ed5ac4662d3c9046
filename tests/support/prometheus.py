"""A real Prometheus for tests: its data in a folder of the test, on a free port, with its API."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml
from tests.support.child_processes import dying_with_us
from tests.support.jaeger import free_ports

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
WAIT_S = 60.0
POLL_S = 0.05


@dataclass
class Prometheus:
    """A Prometheus process with the example configuration of deploy/prometheus.

    Attributes:
        folder: The folder for its configuration, its data and its log.
        target: The host and port of the service to scrape.
        token: The access token to scrape with; None for none.
        port: Its port.
    """

    folder: Path
    target: str
    token: str | None = None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        """Start it and wait until it answers."""
        self.port = free_ports("web")["web"]
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        (scrape,) = config["scrape_configs"]
        scrape["static_configs"] = [{"targets": [self.target]}]
        scrape["scrape_interval"] = "1s"
        if self.token is not None:
            scrape["authorization"] = {"credentials": self.token}
        config["global"]["evaluation_interval"] = "1s"
        config["rule_files"] = [str(DEPLOY / "alerts.yml")]
        path = self.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        program = shutil.which("prometheus")
        assert program is not None
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(*dying_with_us(), program, f"--config.file={path}"),
                    f"--storage.tsdb.path={self.folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_for(self._is_ready, "answer")
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)

    @property
    def log_path(self) -> Path:
        """The file with its output."""
        return self.folder / "prometheus.log"

    def get(self, path: str, **parameters: str) -> Any:
        """Query the API; return the data of the answer, which must be a success."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=WAIT_S) as response:
                answer = json.load(response)
        except HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the values of an expression by their labels, without those of the scrape."""
        data = self.get("query", query=expression)
        scraped = {"job", "instance", "__name__"}
        return {
            tuple(
                (key, value) for key, value in sorted(each["metric"].items()) if key not in scraped
            ): float(each["value"][1])
            for each in data["result"]
        }

    def wait_for(self, condition: Any, what: str) -> Any:
        """Wait until a condition returns something true, and return that."""
        deadline = time.monotonic() + WAIT_S
        while not (found := condition()):
            assert self._process is not None
            assert self._process.poll() is None, self.log_path.read_text()
            log = self.log_path.read_text()
            assert time.monotonic() < deadline, f"no {what} in time:\n{log}"
            time.sleep(POLL_S)
        return found

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=WAIT_S) as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False
