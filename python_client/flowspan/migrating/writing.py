"""The migration of a program's imports from Prefect to flowspan; all other code stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.metadata import MetadataWrapper, QualifiedNameProvider

from flowspan.migrating.names import import_fact
from flowspan.migrating.reading import PREFECT, dotted, imported, is_prefects, module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = "flowspan"


def migrate(module: cst.Module) -> cst.Module:
    """Change the imports of a program to flowspan's, as far as flowspan has the names.

    Missing names are still imported from Prefect, so that no name silently changes its meaning.

    Args:
        module: The program.
    """
    changed: cst.Module = MetadataWrapper(module, unsafe_skip_copy=True).visit(Writer())
    return changed


class Writer(cst.CSTTransformer):
    """A transformer of imports, and of the dotted names of imported modules."""

    METADATA_DEPENDENCIES = (QualifiedNameProvider,)

    def __init__(self) -> None:
        super().__init__()
        self._survey = _Survey()

    def visit_Module(self, node: cst.Module) -> None:
        """Survey the uses first: `import prefect` stays for missing names."""
        self._survey.look(node, self)

    # Imports.

    def visit_Import(self, node: cst.Import) -> bool:
        """Leave the names in it to `leave_SimpleStatementLine`."""
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        """Leave the names in it to `leave_SimpleStatementLine`."""
        return False

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> Any:
        """Change the imports of a line; several new ones for a single import get separate lines."""
        del original_node
        statements: list[cst.BaseSmallStatement] = []
        for statement in updated_node.body:
            statements += self._changed(statement)
        if len(updated_node.body) > 1 or len(statements) == 1:
            return updated_node.with_changes(body=statements)
        first, *others = [cst.SimpleStatementLine([statement]) for statement in statements]
        first = first.with_changes(leading_lines=updated_node.leading_lines)
        lines = [first, *others]
        lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def leave_SimpleStatementSuite(
        self, original_node: cst.SimpleStatementSuite, updated_node: cst.SimpleStatementSuite
    ) -> cst.SimpleStatementSuite:
        """Change the imports of `if …: import …`."""
        del original_node
        statements = [each for statement in updated_node.body for each in self._changed(statement)]
        return updated_node.with_changes(body=statements)

    def _changed(self, statement: cst.BaseSmallStatement) -> Sequence[cst.BaseSmallStatement]:
        if isinstance(statement, cst.ImportFrom) and is_prefects(module_of(statement)):
            return self._from_import(statement)
        if isinstance(statement, cst.Import):
            return self._import(statement)
        return [statement]

    def _from_import(self, node: cst.ImportFrom) -> list[cst.BaseSmallStatement]:
        module = module_of(node)
        if isinstance(node.names, cst.ImportStar):
            return [node.with_changes(module=_expression(_moved(module)))]
        # By the module to import from: flowspan's, or Prefect's for missing names.
        homes: dict[str, list[cst.ImportAlias]] = {}
        for alias in node.names:
            home, moved = _home_of(module, alias)
            homes.setdefault(home, []).append(moved)
        if len(homes) == 1:
            (home,) = homes
            if homes[home] == list(node.names):  # keeps the layout of the names
                return [node.with_changes(module=_expression(home))]
        return [
            node.with_changes(
                module=_expression(home),
                names=_listed(aliases, last=node.names[-1].comma),
            )
            for home, aliases in sorted(homes.items(), key=lambda item: is_prefects(item[0]))
        ]

    def _import(self, node: cst.Import) -> list[cst.BaseSmallStatement]:
        if not any(is_prefects(dotted(alias.name)) for alias in node.names):
            return [node]
        moved: list[cst.ImportAlias] = []
        kept: list[str] = []
        for alias in node.names:
            name = dotted(alias.name)
            if not is_prefects(name):
                moved.append(alias)
                continue
            is_there = import_fact(name).is_there
            if is_there and alias.asname is None and self._survey.is_only_for_missing:
                moved.append(alias)
                continue
            moved.append(self._moved_alias(alias, name) if is_there else alias)
            if is_there:
                kept += self._survey.missing_of(alias, name)
            elif alias.asname is None and self._survey.has_present:
                moved.append(cst.ImportAlias(cst.Name(HERE)))
        statements: list[cst.BaseSmallStatement] = [node.with_changes(names=_listed(moved))]
        if kept:
            names = [cst.ImportAlias(_expression(name)) for name in dict.fromkeys(kept)]
            statements.append(cst.Import(_listed(names)))
        return statements

    def _moved_alias(self, alias: cst.ImportAlias, name: str) -> cst.ImportAlias:
        if alias.asname is None and self._survey.has_own_name:
            # The alias of the package gives access to all its modules.
            return alias.with_changes(name=cst.Name(HERE), asname=_named(PREFECT))
        return alias.with_changes(name=_expression(_moved(name)))

    # Uses of `import prefect`.

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """Skip the parts of a chain of attributes, which `leave_Attribute` changes as a whole."""
        return not _root_of_chain(node, self)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """Change `prefect.flow` to `flowspan.flow`."""
        root = _root_of_chain(original_node, self)
        if root is None or self._survey.has_own_name:
            return updated_node
        name = imported(original_node, self)
        known = import_fact(name)
        is_alias = root.value in self._survey.aliases
        if is_alias and not import_fact(self._survey.aliases[root.value]).is_there:
            return updated_node
        if root.value != PREFECT and not is_alias:  # a name imported with from-import
            return updated_node
        if not known.is_there:
            return _expression(name) if is_alias else updated_node
        if known.here != _moved(name):
            new: cst.BaseExpression = _expression(known.here)
        elif is_alias:
            return updated_node
        else:
            new = _with_root(updated_node, HERE)
        return new

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Change a bare `prefect`: `reload(prefect)`."""
        is_module = original_node.value == PREFECT and imported(original_node, self) == PREFECT
        if is_module and not self._survey.has_own_name:
            return updated_node.with_changes(value=HERE)
        return updated_node


class _Survey:
    """A survey of a program before its imports are changed.

    Attributes:
        aliases: The modules by alias: `import prefect.runtime as rt`.
        has_present: True if it uses `prefect.x` and flowspan has x.
        has_own_name: True if it binds `flowspan` or `prefect` itself: the module then keeps the
            name `prefect`.
    """

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.has_present = False
        self.has_own_name = False
        # The missing names in use, by the name at their root: `prefect`, or an alias.
        self._missing: dict[str, set[str]] = {}

    @property
    def is_only_for_missing(self) -> bool:
        """True if `import prefect` is used only for missing names."""
        return not self.has_present and bool(self._missing.get(PREFECT))

    def missing_of(self, alias: cst.ImportAlias, name: str) -> list[str]:
        """Return the Prefect modules that must still be imported, after an import moved."""
        if alias.asname is None:
            missing = self._missing.get(PREFECT, set())
            within = [each for each in missing if each.startswith(f"{name}.")]
            return [name] if within else []
        return [name] if self._missing.get(dotted(alias.asname.name)) else []

    def look(self, node: cst.CSTNode, visitor: cst.MetadataDependent) -> None:
        """Survey a tree, with a visitor that has its qualified names."""
        if isinstance(node, cst.Import):
            self._look_at_import(node)
        elif isinstance(node, cst.Attribute) and (root := _root_of_chain(node, visitor)):
            name = imported(node, visitor)
            if import_fact(name).is_there:
                self.has_present |= root.value == PREFECT
            else:
                self._missing.setdefault(root.value, set()).add(name)
        elif isinstance(node, cst.Name):
            self.has_present |= node.value == PREFECT and imported(node, visitor) == PREFECT
        elif not isinstance(node, cst.ImportFrom):
            self.has_own_name |= _binds(node)
            for child in node.children:
                self.look(child, visitor)

    def _look_at_import(self, node: cst.Import) -> None:
        for alias in node.names:
            if alias.asname is not None and is_prefects(dotted(alias.name)):
                self.aliases[dotted(alias.asname.name)] = dotted(alias.name)


def _binds(node: cst.CSTNode) -> bool:
    """Return True if a statement binds `flowspan` or `prefect`."""
    if isinstance(node, cst.AssignTarget):
        return dotted(node.target) in {HERE, PREFECT}
    if isinstance(node, (cst.Param, cst.FunctionDef, cst.ClassDef)):
        return node.name.value == HERE
    return False


def _root_of_chain(node: cst.Attribute, visitor: cst.MetadataDependent) -> cst.Name | None:
    """Return the name at the root of a chain of attributes that reaches into Prefect."""
    if not imported(node, visitor):
        return None
    root: cst.BaseExpression = node
    while isinstance(root, cst.Attribute):
        root = root.value
    return root if isinstance(root, cst.Name) else None


def _with_root(node: cst.BaseExpression, name: str) -> Any:
    """Return a chain of attributes with another name at its root."""
    changed = _with_root(node.value, name) if isinstance(node, cst.Attribute) else name
    return node.with_changes(value=changed)


def _home_of(module: str, alias: cst.ImportAlias) -> tuple[str, cst.ImportAlias]:
    """Return the module from which a name is now imported, and its alias there."""
    name = dotted(alias.name)
    known = import_fact(f"{module}.{name}")
    if not known.is_there:
        return module, alias
    home, _, new = known.here.rpartition(".")
    if new == name:
        return home, alias
    asname = alias.asname or _named(name)
    return home, alias.with_changes(name=cst.Name(new), asname=asname)


def _moved(name: str) -> str:
    return HERE + name[len(PREFECT) :]


def _named(name: str) -> cst.AsName:
    return cst.AsName(
        cst.Name(name),
        whitespace_before_as=cst.SimpleWhitespace(" "),
        whitespace_after_as=cst.SimpleWhitespace(" "),
    )


def _listed(
    aliases: Iterable[cst.ImportAlias],
    last: cst.Comma | cst.MaybeSentinel = cst.MaybeSentinel.DEFAULT,
) -> list[cst.ImportAlias]:
    """Separate aliases by commas: their own, with its comment, or a new one.

    Args:
        aliases: The aliases, at least one.
        last: The comma after the last one, if any.
    """
    names = list(aliases)
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [
        *(
            alias if isinstance(alias.comma, cst.Comma) else alias.with_changes(comma=comma)
            for alias in names[:-1]
        ),
        names[-1].with_changes(comma=_last_comma(names[-1], last)),
    ]


def _last_comma(
    alias: cst.ImportAlias, last: cst.Comma | cst.MaybeSentinel
) -> cst.Comma | cst.MaybeSentinel:
    """Return the final comma of a list, with the alias's own comment and the list's layout."""
    own = alias.comma.whitespace_after if isinstance(alias.comma, cst.Comma) else None
    first_line = own.first_line if isinstance(own, cst.ParenthesizedWhitespace) else None
    has_comment = first_line is not None and first_line.comment is not None
    if isinstance(last, cst.Comma) and isinstance(
        last.whitespace_after, cst.ParenthesizedWhitespace
    ):
        new = first_line if has_comment else cst.TrailingWhitespace()
        layout = last.whitespace_after.with_changes(first_line=new)
        return last.with_changes(whitespace_after=layout)
    return alias.comma if has_comment else last


def _expression(name: str) -> Any:
    """Return a dotted name as an expression."""
    expression: cst.Name | cst.Attribute
    first, *others = name.split(".")
    expression = cst.Name(first)
    for part in others:
        expression = cst.Attribute(expression, cst.Name(part))
    return expression
