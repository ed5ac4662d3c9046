"""Names of Prefect that flowspan does not have, and what to use instead.

`from flowspan.blocks.system import Secret` fails with a message that says where secrets go, and not
with "No module named" alone. `import flowspan` does not load the tables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_BLOCKS = (
    "flowspan has no blocks. Read secrets from the environment (os.environ), keep other "
    "settings in variables (flowspan.variables.Variable), and give results and files an fsspec URL."
)
_DEPLOYMENTS = (
    "flowspan has no deployments yet. Call the flow, for example from cron or a Kubernetes CronJob."
)
_PAUSING = "flowspan cannot pause or suspend runs yet."
_EVENTS = (
    "flowspan has no events and automations. Use hooks (on_failure=[…]), or watch() of the API "
    "client."
)
_LIMITS = (
    "flowspan has no concurrency limits across runs yet. In one flow run, "
    "ThreadPoolTaskRunner(max_workers=…) limits its tasks."
)
_SETTINGS = (
    "flowspan has no settings objects. Settings are variables of the environment (FLOWSPAN_…); for "
    "a test there is flowspan.testing.temporary_settings."
)
_ASSETS = "flowspan has no assets. Use @task, and artifacts (flowspan.artifacts) for what it made."

MODULES = {
    "assets": _ASSETS,
    "automations": _EVENTS,
    "blocks": _BLOCKS,
    "concurrency": _LIMITS,
    "deployments": _DEPLOYMENTS,
    "docker": _DEPLOYMENTS,
    "events": _EVENTS,
    "filesystems": _BLOCKS,
    "infrastructure": _DEPLOYMENTS,
    "input": _PAUSING,
    "main": "Import from flowspan itself.",
    "runner": _DEPLOYMENTS,
    "server": "The service is another package: start it by `flowspan server start`.",
    "settings": _SETTINGS,
    "task_worker": _DEPLOYMENTS,
    "workers": _DEPLOYMENTS,
}
"""Modules of Prefect that are not there, with all that is in them."""

NAMES = {
    "": {
        **dict.fromkeys(("serve", "aserve", "deploy"), _DEPLOYMENTS),
        **dict.fromkeys(
            (
                *("pause_flow_run", "suspend_flow_run", "resume_flow_run"),
                *("apause_flow_run", "asuspend_flow_run", "aresume_flow_run"),
            ),
            _PAUSING,
        ),
    },
    "flow_runs": dict.fromkeys(
        (
            *("pause_flow_run", "suspend_flow_run", "resume_flow_run"),
            *("apause_flow_run", "asuspend_flow_run", "aresume_flow_run"),
        ),
        _PAUSING,
    ),
    "flows": {
        **dict.fromkeys(("serve", "aserve", "load_flow_from_entrypoint"), _DEPLOYMENTS),
        "InfrastructureBoundFlow": _DEPLOYMENTS,
    },
    "tasks": {"MaterializingTask": _ASSETS},
    "futures": {
        "PrefectDistributedFuture": _DEPLOYMENTS,
        "PrefectFlowRunFuture": _DEPLOYMENTS,
    },
    "task_runners": {"PrefectTaskRunner": _DEPLOYMENTS},
    "context": {
        "SettingsContext": _SETTINGS,
        "get_settings_context": _SETTINGS,
        "use_profile": "flowspan has no profiles. Set variables of the environment (FLOWSPAN_…).",
        **dict.fromkeys(
            ("with_context", "serialize_context", "hydrated_context"),
            "A run's context goes to other processes with ProcessPoolTaskRunner, and to "
            "threads with contextvars.copy_context().run.",
        ),
    },
    "exceptions": {
        **dict.fromkeys(
            ("Pause", "PausedRun", "NotPausedError", "FlowPauseTimeout", "Abort"), _PAUSING
        ),
        "PrefectHTTPStatusError": "There is no REST. Catch flowspan.exceptions.ApiError.",
        "ObjectLimitReached": "The API client raises flowspan.exceptions.ApiError.",
        **dict.fromkeys(("MissingProfileError", "ProfileSettingsValidationError"), _SETTINGS),
        **dict.fromkeys(("BlockMissingCapabilities", "ProtectedBlockError"), _BLOCKS),
    },
}
"""Names that are missing in modules that are there ("" is flowspan itself)."""


def refuse_module(name: str) -> None:
    """Raise the error for a module of Prefect that flowspan does not have.

    Args:
        name: The module ("flowspan.blocks.system").

    Raises:
        ModuleNotFoundError: It is one; the message says what to use instead.
    """
    advice = MODULES.get(name.partition(".")[2].partition(".")[0])
    if advice is not None:
        raise ModuleNotFoundError(f"No module named {name!r}. {advice}", name=name)


def refuse_name(module: str, name: str) -> NoReturn:
    """Raise the error for a name that a module does not have. Called by its `__getattr__`.

    Args:
        module: The module ("flowspan.flows").
        name: The name.

    Raises:
        AttributeError: It is not there. If Prefect has it, the message says what to use instead.
        ImportError: The same in `from … import …`, where Python would drop the message of an
            AttributeError.
    """
    advice = NAMES.get(module.partition(".")[2], {}).get(name)
    if advice is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    message = f"{module} has no {name!r}. {advice}"
    if _is_import(sys._getframe(2)):  # noqa: SLF001 - there is no other way to see who asks
        raise ImportError(message, name=name, path=module)
    raise AttributeError(message)


def _is_import(frame: FrameType) -> bool:
    """True if a frame is at `from … import …`, and not at `hasattr` and its like."""
    from opcode import opmap  # noqa: PLC0415 - start-up cost

    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def refusing(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module some of whose names in Prefect are missing.

    Args:
        module: The module's `__name__`.
    """

    def refuse(name: str) -> NoReturn:
        refuse_name(module, name)

    return refuse
