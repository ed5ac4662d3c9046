"""The table of nouns: their reads on the store, and their writes in a unit of work.

A new noun is added here and to the ports (`app.ports.nouns`), and nowhere else in this layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.stores.artifacts import ArtifactReads, ArtifactWrites
from flowspan_service.stores.cancellations import CancellationReads, CancellationWrites
from flowspan_service.stores.claims import ClaimReads, ClaimWrites
from flowspan_service.stores.commands import CommandReads, CommandWrites
from flowspan_service.stores.deletions import DeletionReads, DeletionWrites
from flowspan_service.stores.families import FamilyReads, FamilyWrites
from flowspan_service.stores.fences import FenceWrites
from flowspan_service.stores.flows import FlowReads, FlowWrites
from flowspan_service.stores.labels import LabelReads, LabelWrites
from flowspan_service.stores.last_signs import LastSignReads, LastSignWrites
from flowspan_service.stores.log_exports import LogExportReads, LogExportWrites
from flowspan_service.stores.logs import LogReads, LogWrites
from flowspan_service.stores.run_reads import RunReads
from flowspan_service.stores.run_writes import RunWrites
from flowspan_service.stores.sessions import SessionReads, SessionWrites
from flowspan_service.stores.tokens import TokenReads, TokenWrites
from flowspan_service.stores.transitions import TransitionReads
from flowspan_service.stores.variables import VariableReads, VariableWrites
from flowspan_service.stores.verdicts import VerdictWrites

if TYPE_CHECKING:
    from flowspan_service.stores.engine.reading import Reading
    from flowspan_service.stores.engine.transaction import NounWrites, Transaction


class AllReads:
    """The reads of all nouns, as attributes of the store."""

    def __init__(self, reading: Reading) -> None:
        self.artifacts = ArtifactReads(reading)
        self.cancellations = CancellationReads(reading)
        self.claims = ClaimReads(reading)
        self.commands = CommandReads(reading)
        self.deletions = DeletionReads(reading)
        self.families = FamilyReads(reading)
        self.flows = FlowReads(reading)
        self.labels = LabelReads(reading)
        self.last_signs = LastSignReads(reading)
        self.log_exports = LogExportReads(reading)
        self.logs = LogReads(reading)
        self.runs = RunReads(reading)
        self.sessions = SessionReads(reading)
        self.tokens = TokenReads(reading)
        self.transitions = TransitionReads(reading)
        self.variables = VariableReads(reading)


class AllWrites:
    """The writes of all nouns, as attributes of a unit of work."""

    def __init__(self, tx: Transaction) -> None:
        flows = FlowWrites(tx)
        self.labels = LabelWrites(tx)
        self.last_signs = LastSignWrites(tx)
        self.runs = RunWrites(tx, flows, self.labels)
        self.logs = LogWrites(tx, self.runs)
        self.log_exports = LogExportWrites(tx)
        self.artifacts = ArtifactWrites(tx)
        self.cancellations = CancellationWrites(tx, self.runs)
        self.claims = ClaimWrites(tx)
        self.commands = CommandWrites(tx)
        self.families = FamilyWrites(tx, self.runs)
        self.sessions = SessionWrites(tx)
        self.fences = FenceWrites(tx, self.sessions)
        self.tokens = TokenWrites(tx)
        self.variables = VariableWrites(tx)
        self.verdicts = VerdictWrites(tx)
        # The nouns whose rows are deleted with their run, the largest rows first.
        of_runs = (self.artifacts, self.labels, self.commands, self.last_signs)
        self.deletions = DeletionWrites(tx, self.runs, of_runs)
        self.buffers: tuple[NounWrites, ...] = (
            self.runs,
            self.labels,
            self.last_signs,
            self.logs,
            self.log_exports,
            self.artifacts,
            self.commands,
            self.sessions,
            self.verdicts,
            self.families,
            flows,
        )
        """The nouns with buffered rows, in the order of their writes."""
