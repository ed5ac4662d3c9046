"""Parsing of files that may not be valid Python, or are too deeply nested for libcst."""

from __future__ import annotations

import ast
import warnings

_MAX_LEVELS = 1000
"""Maximum nesting; each operator of a chain counts as one level."""


def parse(content: bytes) -> ast.Module:
    """Parse a file with CPython's parser, as a check before libcst.

    Args:
        content: The file's content.

    Raises:
        SyntaxError: It is not valid Python.
        ValueError: It is not valid Python: it has a null byte or cannot be decoded.
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
