"""Profiles: named connections to services, in a file of the home.

The current profile gives the address of the service where FLOWSPAN_ADDRESS is not set, and with it
how to prove who one is there. `flowspan profile` writes the file; nothing else does.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowspan.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "profiles.json"
LOCAL = "local"
"""The profile that always exists: the local service, without any setting."""
SETTINGS = (
    *("address", "token_file", "tls", "tls_ca"),
    *("tls_client_cert", "tls_client_key", "tls_server_name"),
)
"""The settings of a profile, by the names of those in `flowspan.config`."""


@dataclass(slots=True)
class Profiles:
    """The profiles of a home.

    Attributes:
        current: The name of the one in use.
        by_name: The settings of each, as texts, by their names.
    """

    current: str = LOCAL
    by_name: dict[str, dict[str, str]] = field(default_factory=dict)

    def settings_of(self, name: str, *, source: str) -> Mapping[str, str]:
        """Return the settings of a profile.

        Args:
            name: The name of the profile.
            source: The origin of the name, for the error message.

        Raises:
            ConfigError: There is no such profile.
        """
        found = self.by_name.get(name)
        if found is None and name != LOCAL:
            known = ", ".join(sorted({LOCAL, *self.by_name}))
            raise ConfigError(
                f"{source}: there is no profile {name!r}, only {known}. Create it with "
                f"`flowspan profile set {name} --address HOST:PORT`."
            )
        return found or {}


def read_profiles(home: Path) -> Profiles:
    """Return the profiles of a home; none but the local one if it has no file of profiles.

    Raises:
        ConfigError: The file cannot be read.
    """
    path = home / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return Profiles()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the profiles in {path} cannot be read: {error}") from None
    try:
        content = json.loads(text)
        profiles = {
            str(name): {
                key: str(value) for key, value in settings.items() if key in SETTINGS and value
            }
            for name, settings in content["profiles"].items()
        }
        return Profiles(str(content.get("current", LOCAL)), profiles)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the file of profiles {path} is damaged ({error!r}). Correct or remove it."
        ) from None


def write_profiles(home: Path, profiles: Profiles) -> None:
    """Write the profiles of a home. Readers see the old file or the complete new one.

    Raises:
        OSError: The file cannot be written.
    """
    # Only `flowspan profile` writes, and each flow reads.
    import tempfile  # noqa: PLC0415 - as above

    from flowspan.private_files import own_home  # noqa: PLC0415 - as above

    own_home(home)
    handle, name = tempfile.mkstemp(dir=home, prefix=".profiles-", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            content = {"current": profiles.current, "profiles": profiles.by_name}
            json.dump(content, file, indent=2, sort_keys=True)
            file.write("\n")
        os.replace(name, home / FILE_NAME)
    except BaseException:
        os.unlink(name)
        raise
