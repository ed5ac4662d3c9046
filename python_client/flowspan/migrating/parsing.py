"""Parsing of files that may be no Python, or Python that no parser but CPython's can take."""

from __future__ import annotations

import ast
import warnings

_MAX_LEVELS = 1000
"""Levels of nesting, of which each operator of a chain is one."""


def parse(content: bytes) -> ast.Module:
    """Parse a file, before libcst does.

    Args:
        content: The file's content.

    Raises:
        SyntaxError: It is no Python.
        ValueError: It is no Python: it has a null byte or cannot be decoded.
        RecursionError: It is nested so deeply that libcst would take minutes, or overflow its
            stack.
        MemoryError: It is nested too deeply for CPython.
    """
    with warnings.catch_warnings(action="ignore"):
        tree = ast.parse(content)
    nodes: list[tuple[ast.AST, int]] = [(tree, 0)]
    while nodes:
        node, depth = nodes.pop()
        if depth > _MAX_LEVELS:
            raise RecursionError
        nodes += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return tree
