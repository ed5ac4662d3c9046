"""The path of a transition through a unit of work: decide, enter, store, perform the effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.domain.commands import Command
from flowspan_service.domain.effects import FinishCommands, IssueCommand
from flowspan_service.domain.rules.transitions import decide, enter

if TYPE_CHECKING:
    from flowspan_service.app.ports import UnitOfWork
    from flowspan_service.domain.effects import Effects
    from flowspan_service.domain.rules.transitions import ProposedTransition
    from flowspan_service.domain.runs import Run
    from flowspan_service.domain.verdicts import Objection


def make_transition(
    uow: UnitOfWork, run: Run, proposed: ProposedTransition
) -> tuple[Objection | None, list[Command]]:
    """Move a run to a state if the rules allow it, and perform the effects.

    Returns:
        The objection, or None; and the commands that were issued.
    """
    objection = decide(run, proposed)
    if objection is not None:
        return objection, []
    effects = enter(run, proposed)
    uow.runs.add_transition(run)
    return None, perform(uow, effects)


def perform(uow: UnitOfWork, effects: Effects) -> list[Command]:
    """Perform effects in the transaction of their transition; return the commands issued."""
    issued: list[Command] = []
    for effect in effects:
        if isinstance(effect, IssueCommand):
            command = Command(*effect, created_us=uow.now_us)
            uow.commands.add(command)
            issued.append(command)
        elif isinstance(effect, FinishCommands):
            uow.commands.finish(effect.run_id)
        else:
            uow.commands.move(effect.run_id, effect.session_id)
    return issued
