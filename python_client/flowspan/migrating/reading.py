"""The search for a program's uses of Prefect."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst
from libcst.metadata import (
    MetadataWrapper,
    PositionProvider,
    QualifiedNameProvider,
    QualifiedNameSource,
)

from flowspan.migrating.names import (
    DIFFERS,
    MISSING,
    SAME,
    Fact,
    attribute_fact,
    fact,
    import_fact,
    is_module,
    option_fact,
    setting_fact,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFECT = "prefect"

_FLOW_MAKERS = frozenset({"prefect.flow", "prefect.flows.flow"})
_TASK_MAKERS = frozenset({"prefect.task", "prefect.tasks.task"})
_CLIENT_MAKERS = frozenset(
    {
        "prefect.get_client",
        "prefect.client.get_client",
        "prefect.client.orchestration.get_client",
    }
)
_KINDS = dict.fromkeys(_FLOW_MAKERS, "Flow") | dict.fromkeys(_TASK_MAKERS, "Task")
_CALLABLES = frozenset({"Flow", "Task"})
_COPIERS = frozenset({"with_options", "from_source"})
_SETTING = re.compile(r"PREFECT_[A-Z0-9_]+")
_DOTTED = re.compile(r"(?<![\w.])prefect(\.\w+)+")
_LOGGER_NAMES = ("prefect.flow_runs", "prefect.task_runs")
_INTEGRATION = re.compile(r"prefect_([a-z]+)(?:\.|$)")
_INTEGRATIONS = frozenset(
    {
        *("airbyte", "aws", "azure", "bitbucket", "census", "databricks", "dask", "dbt", "docker"),
        *("email", "fivetran", "gcp", "github", "gitlab", "hightouch", "jupyter", "kubernetes"),
        *("openai", "ray", "redis", "shell", "slack", "snowflake", "soda", "sqlalchemy", "vault"),
    }
)
"""Prefect's integration packages; any other `prefect_…` is the program's own."""
_NO_INTEGRATION = (
    "no integration packages: call the library itself in a task; results and files go to fsspec "
    "URLs, credentials into the environment"
)
_RUNNERS = frozenset({"dask", "ray"})
_NO_RUNNER = "no task runner for it yet: use ThreadPoolTaskRunner or ProcessPoolTaskRunner"
_LOGGERS = "the loggers of runs are called flowspan.flow_runs and flowspan.task_runs"
_TEXT = "a string, which is not rewritten: change it yourself"


@dataclass(frozen=True, order=True)
class Finding:
    """A use of a Prefect name.

    Attributes:
        line: Its line, from 1.
        column: Its column, from 1.
        name: The used name: "prefect.flow", "@flow(version=…)", "PREFECT_API_URL".
        word: "same", "differs", "renamed" or "missing".
        note: The difference, the name in flowspan, or the reason why it is missing; may be empty.
    """

    line: int
    column: int
    name: str
    word: str
    note: str = ""


def made_in(module: cst.Module) -> dict[str, str]:
    """Return the kinds of a program's names: "Flow", "Task" or "client" by name.

    Args:
        module: The program.
    """
    kinds: dict[str, str] = {}
    MetadataWrapper(module, unsafe_skip_copy=True).visit(_Kinds(kinds))
    return kinds


def read(module: cst.Module, imported_kinds: Mapping[str, str] | None = None) -> list[Finding]:
    """Return a program's uses of Prefect, in the order of the lines.

    Args:
        module: The program.
        imported_kinds: The kinds of names in other modules, by the names under which the program
            imports them ("etl.load", ".etl.load"): "Flow", "Task" or "client".
    """
    wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
    kinds: dict[str, str] = dict(imported_kinds or {})
    wrapper.visit(_Kinds(kinds))
    reader = _Reader(kinds)
    wrapper.visit(reader)
    return sorted(set(reader.findings))


def imported(node: cst.CSTNode, visitor: cst.MetadataDependent) -> str:
    """Return the dotted Prefect name that a name or an attribute refers to; else "".

    Args:
        node: The expression.
        visitor: A visitor with the qualified names.
    """
    if dotted(node):  # a method of a call's result is not a name of the module
        for name in visitor.get_metadata(QualifiedNameProvider, node, default=()) or ():
            if name.source is QualifiedNameSource.IMPORT and is_prefects(name.name):
                return str(name.name)
    return ""


def is_prefects(name: str) -> bool:
    """Return True if a dotted name is in the package prefect."""
    return name == PREFECT or name.startswith(f"{PREFECT}.")


def module_of(node: cst.ImportFrom) -> str:
    """Return the dotted name of the module in a from-import; "" if it is relative."""
    return "" if node.relative or node.module is None else dotted(node.module)


def dotted(node: cst.CSTNode) -> str:
    """Return a name or a chain of attributes as text; "" for any other expression."""
    if isinstance(node, cst.Attribute):
        owner = dotted(node.value)
        return owner and f"{owner}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


def _text(node: cst.CSTNode) -> str:
    """Return the text of a literal that may contain a Prefect name; else ""."""
    if not isinstance(node, cst.SimpleString) or PREFECT not in node.value.lower():
        return ""
    with warnings.catch_warnings(action="ignore"):  # invalid escapes
        text = ast.literal_eval(node.value)
    return text if isinstance(text, str) else ""


def _has_function(node: cst.Call) -> bool:
    """Return True if the call of a decorator passes the function, and so creates a flow or task."""
    return any(argument.keyword is None and not argument.star for argument in node.args)


class _Kinds(cst.CSTVisitor):
    """A visitor that finds the kinds of the program's names: flows, tasks and clients.

    Args:
        kinds: "Flow", "Task" or "client" by qualified name; the names found are added.
    """

    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider)

    def __init__(self, kinds: dict[str, str]) -> None:
        super().__init__()
        self._kinds = kinds

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Record functions that are decorated as flows and tasks."""
        for decorator in node.decorators:
            kind = self._kind_of(decorator.decorator)
            if kind:
                self._remember(node.name, kind)

    def visit_Assign(self, node: cst.Assign) -> None:
        """Record names that are assigned flows, tasks and clients."""
        for target in node.targets:
            self._assigned(target.target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        """Record names that are assigned flows, tasks and clients."""
        if node.value is not None:
            self._assigned(node.target, node.value)

    def visit_WithItem(self, node: cst.WithItem) -> None:
        """Record clients: `async with get_client() as client`."""
        if node.asname is not None:
            self._assigned(node.asname.name, node.item)

    def _assigned(self, target: cst.CSTNode, value: cst.BaseExpression) -> None:
        if isinstance(value, cst.Await):
            value = value.expression
        kind = self._kind_of(value)
        if kind and isinstance(target, cst.Name):
            self._remember(target, kind)

    def _kind_of(self, value: cst.BaseExpression) -> str:
        """Return the kind that a decorator or a value creates: "Flow", "Task", "client" or ""."""
        func = value.func if isinstance(value, cst.Call) else value
        name = imported(func, self)
        if name in _KINDS:
            return _KINDS[name]
        if isinstance(value, cst.Call):
            if name in _CLIENT_MAKERS:
                return "client"
            if isinstance(func, cst.Attribute) and func.attr.value in _COPIERS:
                return self._kind_of(func.value)
            if isinstance(func, cst.Call) and not _has_function(func):  # flow(name="x")(function)
                return self._kind_of(func)
            return ""
        return next((self._kinds[each] for each in self._names(value) if each in self._kinds), "")

    def _remember(self, node: cst.Name, kind: str) -> None:
        for name in self._names(node):
            self._kinds[name] = kind

    def _names(self, node: cst.CSTNode) -> Iterator[str]:
        for name in self.get_metadata(QualifiedNameProvider, node, default=()) or ():
            yield name.name


class _Reader(_Kinds):
    """A visitor that collects the findings.

    Args:
        kinds: The kinds of the program's names.

    Attributes:
        findings: The findings so far.
    """

    def __init__(self, kinds: dict[str, str]) -> None:
        super().__init__(kinds)
        self.findings: list[Finding] = []

    # Imports.

    def visit_Import(self, node: cst.Import) -> bool:
        """Check `import prefect…`."""
        for alias in node.names:
            name = dotted(alias.name)
            if is_prefects(name):
                self._found(alias, name, import_fact(name))
            else:
                self._found_integration(alias, name)
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        """Check `from prefect… import …`."""
        module = module_of(node)
        if not is_prefects(module):
            self._found_integration(node, module)
        elif isinstance(node.names, cst.ImportStar):
            self._add(
                node, f"{module}.*", DIFFERS, "import what you use, so that it can be checked"
            )
        else:
            for alias in node.names:
                name = f"{module}.{dotted(alias.name)}"
                self._found(alias, name, import_fact(name))
        return False

    def _found_integration(self, node: cst.CSTNode, name: str) -> None:
        match = _INTEGRATION.match(name)
        if match and match[1] in _INTEGRATIONS:
            note = _NO_RUNNER if match[1] in _RUNNERS else _NO_INTEGRATION
            self._add(node, name, MISSING, note)

    # Uses.

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """Check `prefect.flow`, `runtime.flow_run.id`, `load.submit`, `client.read_flows`."""
        name = imported(node, self)
        if name:
            self._found(node, name, import_fact(name))
            return False
        kind = self._kind_of(node.value)
        known = None
        if kind in _CALLABLES:
            known = attribute_fact(kind, node.attr.value)
        elif kind:
            known = fact(kind, node.attr.value)
        if known is not None:
            self._found(node.attr, f"{dotted(node.value) or kind}.{node.attr.value}", known)
        return True

    def visit_Call(self, node: cst.Call) -> None:
        """Check the options of decorators and `with_options`, and names of loggers."""
        self._look_at_logger(node)
        if isinstance(node.func, cst.Call):  # the call of a decorated function
            return
        if isinstance(node.func, cst.Attribute) and node.func.attr.value == "from_source":
            return
        kind = self._kind_of(node)
        for argument in node.args if kind in _CALLABLES else ():
            if argument.keyword is not None:
                known = option_fact(kind, argument.keyword.value)
                if known.word != SAME:
                    self._found(argument, f"@{kind.lower()}({argument.keyword.value}=…)", known)

    def _look_at_logger(self, node: cst.Call) -> None:
        names = set(self._names(node.func))
        for argument in node.args[:1] if "logging.getLogger" in names else ():
            text = _text(argument.value)
            if text == PREFECT or text.startswith("prefect."):
                self._add(argument, repr(text), DIFFERS, _LOGGERS)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        """Check strings that name Prefect's settings and modules."""
        text = _text(node)
        if _SETTING.fullmatch(text):
            self._found(node, text, setting_fact(text))
        elif text.startswith(_LOGGER_NAMES):
            self._add(node, repr(text), DIFFERS, _LOGGERS)
        elif _DOTTED.fullmatch(text) or "[" in text:  # the latter may be an annotation
            for match in _DOTTED.finditer(text):
                if is_module(match[0]):
                    self._add(node, repr(match[0]), DIFFERS, _TEXT)

    # Findings.

    def _found(self, node: cst.CSTNode, name: str, known: Fact) -> None:
        # The note of a name that is the same explains the page's row, not this use.
        self._add(node, name, known.word, "" if known.word == SAME else known.note)

    def _add(self, node: cst.CSTNode, name: str, word: str, note: str) -> None:
        start = self.get_metadata(PositionProvider, node).start
        self.findings.append(Finding(start.line, start.column + 1, name, word, note))
