"""Prefect's names that flowspan does not have, and their replacements.

`from flowspan.blocks.system import Secret` fails with a message that says how to use secrets, and
not only with "No module named". `flow.serve` does the same, and `flowspan migrate` gives the same
advice. `import flowspan` does not load the tables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import FrameType

_BLOCKS = (
    "flowspan has no blocks. Secrets come from the environment (os.environ), other settings from "
    "flowspan.variables.Variable; results and files go to fsspec URLs."
)
_DEPLOYMENTS = (
    "flowspan has no deployments yet. Call the flow, for example from cron or a Kubernetes CronJob."
)
_TASK_WORKERS = "flowspan has no task workers yet. Call the task, or submit() it in a flow."
_PAUSING = "flowspan cannot pause or suspend runs yet."
_EVENTS = (
    "flowspan has no events and automations. Use hooks (on_failure=[…]) or the client's watch()."
)
_LIMITS = (
    "flowspan has no concurrency limits across runs yet. In one flow run, "
    "ThreadPoolTaskRunner(max_workers=…) limits its tasks."
)
_PROFILES = (
    "`flowspan profile` lists and changes profiles, and FLOWSPAN_PROFILE chooses one. Other "
    "settings are variables of the environment (FLOWSPAN_…)."
)
_ASSETS = "flowspan has no assets. Use @task, and artifacts (flowspan.artifacts) for its outputs."
_REST = (
    "There is no REST. The methods of the API client take keyword arguments: docs/api-client.md."
)
_FILTERS = (
    "Filters are keyword arguments: read_flow_runs(flowspan.client.RunFilter(state_types=…))."
)
_INNER = "It is part of Prefect's inner workings, which flowspan does not have."
_ENGINE = "Call the flow or the task: there is no engine to call by hand."
_LOADING = "flowspan loads no flows from files and repositories. Import the module."
_INFRASTRUCTURE = "flowspan starts no infrastructure: nothing raises it."
_LOGGERS = "Use get_run_logger() in a run; print is logged with log_prints=True."
_DATETIME = "Use datetime.datetime and datetime.date."
_ANNOTATED = "Write the type yourself: Annotated[…, pydantic.Field(…)]."
_CONTEXT = "Use with_context(function): it propagates the run to threads and other processes."

MODULES = {
    "_internal": _INNER,
    "agent": _DEPLOYMENTS,
    "assets": _ASSETS,
    "automations": _EVENTS,
    "blocks": _BLOCKS,
    "bundles": _DEPLOYMENTS,
    "client.cloud": "There is no cloud. FLOWSPAN_ADDRESS names the service.",
    "client.schemas.actions": _REST,
    "client.schemas.events": _EVENTS,
    "client.schemas.filters": _FILTERS,
    "client.schemas.responses": _REST,
    "client.schemas.schedules": "Use Cron, Interval and RRule of flowspan.schedules.",
    "client.schemas.sorting": "Runs are returned in chronological order. Sort them in Python.",
    "concurrency": _LIMITS,
    "deployments": _DEPLOYMENTS,
    "docker": _DEPLOYMENTS,
    "engine": _ENGINE,
    "events": _EVENTS,
    "filesystems": _BLOCKS,
    "flow_engine": _ENGINE,
    "infrastructure": _DEPLOYMENTS,
    "input": _PAUSING,
    "logging.configuration": "Set up logging as in any program: docs/logging.md.",
    "logging.filters": "Set up logging as in any program: docs/logging.md.",
    "logging.formatters": "Set up logging as in any program: docs/logging.md.",
    "logging.handlers": "Set up logging as in any program: docs/logging.md.",
    "logging.highlighters": "Set up logging as in any program: docs/logging.md.",
    "main": "Import from flowspan itself.",
    "plugins": "flowspan has no plugins.",
    "runner": _DEPLOYMENTS,
    "server": "The service is another package: start it with `flowspan server start`.",
    "settings.legacy": "Import the setting from flowspan.settings.",
    "settings.models": "Settings are variables of the environment; see flowspan.settings.",
    "settings.profiles": _PROFILES,
    "task_engine": _ENGINE,
    "task_runs": "Use wait() of the future.",
    "task_worker": _TASK_WORKERS,
    "testing.cli": "Use the CLI runner of typer.",
    "testing.docker": _INNER,
    "testing.fixtures": "Use the pytest fixture flowspan_harness: docs/testing.md.",
    "testing.standard_test_suites": _BLOCKS,
    **{
        f"utilities.{name}": _INNER
        for name in (
            *("callables", "collections", "compat", "context", "dispatch", "dockerutils"),
            *("engine", "filesystem", "generics", "importtools", "math", "names"),
            *("processutils", "pydantic", "render_swagger", "schema_tools", "services"),
            *("slugify", "templating", "text", "timeout", "urls", "visualization"),
        )
    },
    "workers": _DEPLOYMENTS,
}
"""Missing modules of Prefect, including all their names; the longest matching name applies."""

_PAUSES = (
    *("pause_flow_run", "suspend_flow_run", "resume_flow_run"),
    *("apause_flow_run", "asuspend_flow_run", "aresume_flow_run"),
)
_SERVING = ("serve", "aserve", "deploy")

NAMES = {
    "": {**dict.fromkeys(_SERVING, _DEPLOYMENTS), **dict.fromkeys(_PAUSES, _PAUSING)},
    "flow_runs": dict.fromkeys(_PAUSES, _PAUSING),
    "flows": {
        **dict.fromkeys(("serve", "aserve", "InfrastructureBoundFlow"), _DEPLOYMENTS),
        "load_flow_from_entrypoint": _LOADING,
    },
    "tasks": {"MaterializingTask": _ASSETS},
    "futures": {
        "PrefectDistributedFuture": _TASK_WORKERS,
        "PrefectFlowRunFuture": _DEPLOYMENTS,
    },
    "task_runners": {"PrefectTaskRunner": _TASK_WORKERS},
    "context": {
        "AssetContext": _ASSETS,
        "SettingsContext": "Use flowspan.settings.get_current_settings().",
        "get_settings_context": "Use flowspan.settings.get_current_settings().",
        "use_profile": _PROFILES,
        **dict.fromkeys(("serialize_context", "hydrated_context"), _CONTEXT),
    },
    "exceptions": {
        **dict.fromkeys(
            ("Pause", "PausedRun", "NotPausedError", "FlowPauseTimeout", "Abort"), _PAUSING
        ),
        "ExternalSignal": "Catch flowspan.exceptions.RunSignal.",
        "PrefectHTTPStatusError": "There is no REST. Catch flowspan.exceptions.ApiError.",
        "ObjectLimitReached": "The API client raises flowspan.exceptions.ApiError.",
        **dict.fromkeys(
            ("MissingProfileError", "ProfileSettingsValidationError"),
            "An invalid setting raises flowspan.exceptions.ConfigError.",
        ),
        **dict.fromkeys(
            ("BlockMissingCapabilities", "ProtectedBlockError", "ObjectUnsupported"), _BLOCKS
        ),
        "EventTooLarge": _EVENTS,
        "FlowRunWatchError": "A watch resumes after a lost connection: nothing raises it.",
        **dict.fromkeys(
            ("InfrastructureError", "InfrastructureNotAvailable", "InfrastructureNotFound"),
            _INFRASTRUCTURE,
        ),
        **dict.fromkeys(
            (
                *("InvalidRepositoryURLError", "MissingFlowError", "UnspecifiedFlowError"),
                *("ScriptError", "PrefectImportError"),
            ),
            _LOADING,
        ),
    },
    "logging": {
        "LogEavesdropper": "Add a handler to the loggers flowspan.flow_runs and .task_runs."
    },
    "logging.loggers": {
        **dict.fromkeys(("flow_run_logger", "task_run_logger", "print_as_log"), _LOGGERS),
        **dict.fromkeys(("PrefectLogAdapter", "get_worker_logger", "patch_print"), _LOGGERS),
        "disable_logger": "Use disable_run_logger, or logging's own means.",
        "LogEavesdropper": "Add a handler to the loggers flowspan.flow_runs and .task_runs.",
    },
    "settings": dict.fromkeys(
        (
            *("Profile", "ProfilesCollection", "load_current_profile", "load_profile"),
            *("load_profiles", "save_profiles", "update_current_profile"),
            "DEFAULT_PROFILES_PATH",
        ),
        _PROFILES,
    ),
    "testing.utilities": dict.fromkeys(
        (
            *("assert_blocks_equal", "assert_uses_result_storage", "assert_uses_result_serializer"),
            *("assert_does_not_warn", "exceptions_equal", "get_most_recent_flow_run"),
        ),
        "flowspan_harness knows the runs of a test: docs/testing.md.",
    ),
    "utilities.annotations": {
        "freeze": "Pass the value itself.",
        "BaseAnnotation": "Use one of unmapped, allow_failure, quote and opaque.",
    },
    "utilities.asyncutils": dict.fromkeys(
        (
            *("run_async_from_worker_thread", "run_async_in_new_loop", "from_sync"),
            "run_sync_in_interruptible_worker_thread",
        ),
        "Use run_coro_as_sync, run_sync_in_worker_thread, or asyncio itself.",
    ),
    "utilities.hashing": {"stable_hash": "Use hashlib, or hash_objects."},
    "types": {
        **dict.fromkeys(("Date", "DateTime"), _DATETIME),
        **dict.fromkeys(
            (
                *("ClientRetryExtraCodes", "DurationOrSecondsTimeDelta", "JsonStringOrDict"),
                *("KeyValueLabelsField", "NameOrEmpty", "NonEmptyishName", "NonNegativeTimeDelta"),
                *("SecretDict", "StrictVariableValue", "TaskRetryDelaySeconds", "URILike"),
                *("ValidAssetKey", "WITHOUT_BANNED_CHARACTERS"),
            ),
            _ANNOTATED,
        ),
        **dict.fromkeys(
            ("MAX_VARIABLE_NAME_LENGTH", "MAX_VARIABLE_VALUE_LENGTH"),
            "A variable that is too large is refused with an ApiError that names the limit.",
        ),
    },
    "client.schemas": {
        **dict.fromkeys(("StateCreate", "FlowRunPolicy", "TaskRunPolicy"), _REST),
        "StateDetails": "Use state.state_details.",
    },
    "client.schemas.objects": {
        "StateDetails": "Use state.state_details.",
        **dict.fromkeys(
            ("BlockDocument", "BlockSchema", "BlockType", "BlockDocumentReference"), _BLOCKS
        ),
        **dict.fromkeys(
            (
                *("Deployment", "DeploymentSchedule", "DeploymentStatus", "WorkPool", "WorkQueue"),
                *("Worker", "WorkerStatus", "WorkPoolStatus", "WorkQueueStatus"),
            ),
            _DEPLOYMENTS,
        ),
        **dict.fromkeys(
            (
                *("ConcurrencyLimit", "ConcurrencyLimitConfig", "ConcurrencyLimitStrategy"),
                *("ConcurrencyOptions", "GlobalConcurrencyLimit"),
            ),
            _LIMITS,
        ),
        **dict.fromkeys(("FlowRunInput", "RunInput"), _PAUSING),
        **dict.fromkeys(
            ("FlowRunPolicy", "TaskRunPolicy", "FlowRunResult", "TaskRunResult", "Parameter"), _REST
        ),
    },
}
"""Missing names in modules that exist ("" is flowspan itself)."""

ATTRIBUTES = {
    "Flow": dict.fromkeys(
        (
            *("serve", "aserve", "deploy", "adeploy", "to_deployment", "ato_deployment"),
            *("from_source", "afrom_source", "submit_to_work_pool"),
        ),
        _DEPLOYMENTS,
    ),
    "Task": {
        **dict.fromkeys(("delay", "apply_async", "serve", "aserve"), _TASK_WORKERS),
        "asset_deps": _ASSETS,
    },
}
"""Missing attributes of flows and tasks."""


def advice_on_module(name: str) -> str:
    """Return the replacement for a module of Prefect; "" if there is no advice.

    Args:
        name: The dotted name, without "prefect" or "flowspan" ("blocks.system").
    """
    while name:
        if name in MODULES:
            return MODULES[name]
        name = name.rpartition(".")[0]
    return ""


def advice_on_name(module: str, name: str) -> str:
    """Return the replacement for a name of Prefect; "" if there is no advice.

    Args:
        module: The module, without "prefect" or "flowspan" ("flows"; "" is the package).
        name: The name in it.
    """
    advice = NAMES.get(module, {}).get(name, "")
    if not advice and module == "settings" and name.startswith("PREFECT_"):
        return "flowspan has no such setting. `flowspan config` shows those that it has."
    return advice


def refuse_module(name: str) -> None:
    """Raise the error for a module of Prefect that flowspan does not have.

    Args:
        name: The module ("flowspan.blocks.system").

    Raises:
        ModuleNotFoundError: flowspan does not have it; the message says what to use instead.
    """
    advice = advice_on_module(name.partition(".")[2])
    if advice:
        raise ModuleNotFoundError(f"No module named {name!r}. {advice}", name=name)


def refuse_name(module: str, name: str) -> NoReturn:
    """Raise the error for a name that a module does not have. Called by its `__getattr__`.

    Args:
        module: The module ("flowspan.flows").
        name: The name.

    Raises:
        AttributeError: The module does not have it. If Prefect does, the message says what to use
            instead.
        ImportError: The same in `from … import …`, where Python would drop the message of an
            AttributeError.
    """
    advice = advice_on_name(module.partition(".")[2], name)
    if not advice:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    message = f"{module} has no {name!r}. {advice}"
    if _is_import(sys._getframe(2)):  # noqa: SLF001 - there is no other way to find the caller
        raise ImportError(message, name=name, path=module)
    raise AttributeError(message)


def _is_import(frame: FrameType) -> bool:
    """Return True if a frame is executing `from … import …`, and not `hasattr` or the like."""
    from opcode import opmap  # noqa: PLC0415 - start-up cost

    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]


def refusing(module: str, *, modules: Container[str] = ()) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that lacks some of Prefect's names.

    Args:
        module: The module's `__name__`.
        modules: The modules in it that are loaded when they are first used, because Prefect's are
            available after a bare `import prefect`.
    """

    def refuse(name: str) -> Any:
        if name in modules:
            from importlib import import_module  # noqa: PLC0415 - lazy loading

            return import_module(f"{module}.{name}")
        refuse_name(module, name)

    return refuse


def refuse_attribute(kind: str, name: str) -> NoReturn:
    """Raise the error for an attribute that flows or tasks do not have.

    Args:
        kind: "Flow" or "Task".
        name: The attribute.

    Raises:
        AttributeError: Always; for a Prefect attribute, the message says what to use instead.
    """
    advice = ATTRIBUTES.get(kind, {}).get(name, "")
    said = f"{kind!r} object has no attribute {name!r}"
    raise AttributeError(f"{said}. {advice}" if advice else said)
