"""Log records that wait for their export over OTLP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowspan_service.app.ports import Unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowspan_service.app.ports import UnitOfWork

FORGOTTEN_AT_ONCE = 5_000


class ForgetExported:
    """Forget that log records of a session wait: they were exported, or never will be."""

    __slots__ = ("run_ids", "session_id", "upto", "weight")

    def __init__(self, session_id: str, *, upto: int) -> None:
        """Initialize with the session, and the position of the last record."""
        self.session_id = session_id
        self.upto = upto
        self.run_ids: Sequence[str] = ()
        self.weight = 1

    def __call__(self, uow: UnitOfWork) -> Unfinished | None:
        """Forget the records."""
        number = uow.log_exports.forget(self.session_id, upto=self.upto, limit=FORGOTTEN_AT_ONCE)
        if number < FORGOTTEN_AT_ONCE:
            return None
        progress = "Some log records are no longer noted as waiting for their export."
        return Unfinished(self, progress, session_id=self.session_id)
