"""Rendering of states: one run's state, or the number of runs in each state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from flowspan.cli import format as fmt
from flowspan.cli.tree import ACTIVE, TROUBLE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from flowspan.api.models import StateType
    from flowspan.cli.tree import StateKey

_NAMES_OF_A_TYPE = 5
_STATE_NAME_WIDTH = 24


def state_text(kind: StateType, name: str) -> Text:
    """Return a state with its symbol and colour."""
    return Text.assemble((f"{fmt.SYMBOLS[kind]} {fmt.visible(name)}", fmt.STYLES[kind]))


def counts_text(counts: Counter[StateKey]) -> Text:
    """Return the number of runs in each state, by name; states that need attention come first."""
    return next(iter(counts_texts(counts)), Text())


def counts_texts(counts: Counter[StateKey]) -> tuple[Text, ...]:
    """Return the counts in three lengths, longest first.

    The first has every state name, the second omits usual names ("✓ 7, 5 Cached"), and the
    third omits all names.
    """
    present = {state: count for state, count in counts.items() if count > 0}
    if not present:
        return ()
    if len(present) == 1:
        ((kind, name),) = present
        return (state_text(kind, name), Text(fmt.SYMBOLS[kind], fmt.STYLES[kind]))
    by_type: dict[StateType, list[tuple[str, int]]] = {}
    for (kind, name), count in sorted(
        present.items(), key=lambda item: (-item[1], item[0][0].number, item[0][1])
    ):
        by_type.setdefault(kind, []).append((name, count))
    kinds = sorted(by_type, key=lambda kind: (kind not in TROUBLE, kind not in ACTIVE, kind.number))
    return tuple(
        Text("  ").join(
            Text(f"{fmt.SYMBOLS[kind]} {figures(kind, by_type[kind])}", fmt.STYLES[kind])
            for kind in kinds
        )
        for figures in (_with_names, _with_unusual_names, _without_names)
    )


def _with_names(kind: StateType, named: list[tuple[str, int]]) -> str:
    del kind
    parts = [
        f"{fmt.count(count)} {_state_name(name)}".rstrip()
        for name, count in named[:_NAMES_OF_A_TYPE]
    ]
    others = sum(count for _, count in named[_NAMES_OF_A_TYPE:])
    return ", ".join([*parts, *([f"{fmt.count(others)} others"] if others else [])])


def _with_unusual_names(kind: StateType, named: list[tuple[str, int]]) -> str:
    usual = kind.name.capitalize()
    return _with_names(kind, [("" if name == usual else name, count) for name, count in named])


def _without_names(kind: StateType, named: list[tuple[str, int]]) -> str:
    del kind
    return fmt.count(sum(count for _, count in named))


def _state_name(name: str) -> str:
    text = Text(fmt.visible(name))
    text.truncate(_STATE_NAME_WIDTH, overflow="ellipsis")
    return text.plain


def longest(texts: Sequence[Text], room: int | None) -> Text:
    """Return the first text that fits, or the last. The texts are ordered longest first."""
    if not texts:
        return Text()
    fitting = (text for text in texts if room is None or text.cell_len <= room)
    return next(fitting, texts[-1])
