"""Certificates for servers over TLS in tests."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_SETTINGS = """
[req]
distinguished_name=name
x509_extensions=ext
prompt=no
[name]
CN=localhost
[ext]
subjectAltName=DNS:localhost,IP:127.0.0.1
basicConstraints=critical,CA:TRUE
"""


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Create a self-signed certificate for loopback; return its file and that of its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing, so no certificate can be created")
    settings = folder / "openssl.cnf"
    settings.write_text(_SETTINGS)
    key, pem = folder / "key.pem", folder / "cert.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-config", str(settings), "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return pem, key
