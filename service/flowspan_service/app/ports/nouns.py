"""The table of nouns in the ports: one registration of each for reads, and one for writes.

A new noun is added here and to `stores.nouns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowspan_service.app.ports.artifacts import ArtifactReads, ArtifactWrites
    from flowspan_service.app.ports.cancellations import CancellationReads, CancellationWrites
    from flowspan_service.app.ports.claims import ClaimReads, ClaimWrites
    from flowspan_service.app.ports.commands import CommandReads, CommandWrites
    from flowspan_service.app.ports.deletions import DeletionReads, DeletionWrites
    from flowspan_service.app.ports.families import FamilyReads, FamilyWrites
    from flowspan_service.app.ports.fences import FenceWrites
    from flowspan_service.app.ports.flows import FlowReads
    from flowspan_service.app.ports.labels import LabelReads, LabelWrites
    from flowspan_service.app.ports.last_signs import LastSignReads, LastSignWrites
    from flowspan_service.app.ports.log_exports import LogExportReads, LogExportWrites
    from flowspan_service.app.ports.logs import LogReads, LogWrites
    from flowspan_service.app.ports.runs import RunReads, RunWrites
    from flowspan_service.app.ports.sessions import SessionReads, SessionWrites
    from flowspan_service.app.ports.tokens import TokenReads, TokenWrites
    from flowspan_service.app.ports.transitions import TransitionReads
    from flowspan_service.app.ports.variables import VariableReads, VariableWrites
    from flowspan_service.app.ports.verdicts import VerdictWrites


class AllReads(Protocol):
    """The reads of all nouns, as attributes of the store."""

    @property
    def artifacts(self) -> ArtifactReads:
        """The reads of artifacts."""
        ...

    @property
    def cancellations(self) -> CancellationReads:
        """The reads of cancellations."""
        ...

    @property
    def claims(self) -> ClaimReads:
        """The reads of claims."""
        ...

    @property
    def commands(self) -> CommandReads:
        """The reads of commands."""
        ...

    @property
    def deletions(self) -> DeletionReads:
        """The reads of deletions."""
        ...

    @property
    def families(self) -> FamilyReads:
        """The reads of families."""
        ...

    @property
    def flows(self) -> FlowReads:
        """The reads of flows."""
        ...

    @property
    def labels(self) -> LabelReads:
        """The reads of labels."""
        ...

    @property
    def last_signs(self) -> LastSignReads:
        """The reads of last signs of life."""
        ...

    @property
    def log_exports(self) -> LogExportReads:
        """The reads of log records that wait for their export."""
        ...

    @property
    def logs(self) -> LogReads:
        """The reads of logs."""
        ...

    @property
    def runs(self) -> RunReads:
        """The reads of runs."""
        ...

    @property
    def sessions(self) -> SessionReads:
        """The reads of sessions."""
        ...

    @property
    def tokens(self) -> TokenReads:
        """The reads of access tokens."""
        ...

    @property
    def transitions(self) -> TransitionReads:
        """The reads of transitions."""
        ...

    @property
    def variables(self) -> VariableReads:
        """The reads of variables."""
        ...


class AllWrites(Protocol):
    """The writes of all nouns, as attributes of a unit of work."""

    @property
    def artifacts(self) -> ArtifactWrites:
        """The artifacts in this transaction."""
        ...

    @property
    def cancellations(self) -> CancellationWrites:
        """The cancellations in this transaction."""
        ...

    @property
    def claims(self) -> ClaimWrites:
        """The claims in this transaction."""
        ...

    @property
    def commands(self) -> CommandWrites:
        """The commands in this transaction."""
        ...

    @property
    def deletions(self) -> DeletionWrites:
        """The deletions in this transaction."""
        ...

    @property
    def families(self) -> FamilyWrites:
        """The families in this transaction."""
        ...

    @property
    def fences(self) -> FenceWrites:
        """The fences in this transaction."""
        ...

    @property
    def labels(self) -> LabelWrites:
        """The labels in this transaction."""
        ...

    @property
    def last_signs(self) -> LastSignWrites:
        """The last signs of life in this transaction."""
        ...

    @property
    def log_exports(self) -> LogExportWrites:
        """The log records that wait for their export, in this transaction."""
        ...

    @property
    def logs(self) -> LogWrites:
        """The logs in this transaction."""
        ...

    @property
    def runs(self) -> RunWrites:
        """The runs in this transaction."""
        ...

    @property
    def sessions(self) -> SessionWrites:
        """The sessions in this transaction."""
        ...

    @property
    def tokens(self) -> TokenWrites:
        """The access tokens in this transaction."""
        ...

    @property
    def variables(self) -> VariableWrites:
        """The variables in this transaction."""
        ...

    @property
    def verdicts(self) -> VerdictWrites:
        """The verdicts in this transaction."""
        ...
