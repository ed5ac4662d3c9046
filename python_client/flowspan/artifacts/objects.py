"""Artifacts as objects."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, ClassVar

from flowspan.artifacts.reporting import (
    ArtifactId,
    can_be_key,
    check_key,
    is_in_run,
    report_new,
)
from flowspan.core.async_dispatch import gives_awaitable
from flowspan.core.call_graph import current_or_sketched_run
from flowspan.core.values.inspection import is_instance, type_name
from flowspan.core.values.tables import is_table, table_form
from flowspan.drivers.process import flush_reports
from flowspan.exceptions import ObjectNotFound
from flowspan.logging.run_logger import get_run_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from datetime import datetime
    from uuid import UUID

    from flowspan.api.client import FlowspanClient, SyncFlowspanClient
    from flowspan.api.models import Artifact as StoredArtifact
    from flowspan.core.values.tables import DataTable

_logger = logging.getLogger("flowspan.artifacts")

MIN_PROGRESS = 0.0
MAX_PROGRESS = 100.0


class Artifact:
    """An artifact: one to be made, or one that the service has.

    Attributes:
        type: What it is, and so how it is shown.
        key: What it is a version of: lower-case letters, digits and dashes; or None.
        description: What it is about, in Markdown; or None.
        data: What it shows: a text or a number. Of one that the service has, anything else is given
            as JSON text; `value` is that read.
        value: What it shows, as JSON values.
        id: Its id; None before it was made.
        flow_run_id: The flow run that it belongs to, as far as the service has it.
        task_run_id: The task run that made it, as far as the service has it.
        created: When it was made, as far as the service has it.
        updated: When it was last changed, as far as the service has it.
    """

    default_type: ClassVar[str] = "data"

    def __init__(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the attribute's name
        key: str | None = None,
        description: str | None = None,
        data: Any = None,
    ) -> None:
        check_key(key)
        self.type = type or self.default_type
        self.key = key
        self.description = description
        self.data = data
        self.id: ArtifactId | None = None
        self.flow_run_id: UUID | None = None
        self.task_run_id: UUID | None = None
        self.created: datetime | None = None
        self.updated: datetime | None = None

    def __repr__(self) -> str:
        return f"<{self.type} artifact {self.key or self.id}>"

    @property
    def value(self) -> Any:
        """What it shows, as JSON values."""
        return self.format()

    def format(self) -> Any:
        """What is stored of it: a value that JSON can hold."""
        return self.data

    def create(self, client: object = None, *, _sync: bool | None = None) -> ArtifactId:
        """Makes it, by the current run if there is one.

        Args:
            client: Has no effect. It is there so that calls written for Prefect go on working.
            _sync: Has no effect, likewise: the id that is returned can be awaited, too.

        Raises:
            TypeError: What it shows is nothing that JSON can hold.
            ValueError: It is too large.
        """
        del client, _sync
        self.id = report_new(self.type, self.key, self.description, self.format())
        if not is_in_run():
            flush_reports()
        return self.id

    async def acreate(self, client: object = None) -> ArtifactId:
        """The same, for coroutines."""
        del client
        self.id = report_new(self.type, self.key, self.description, self.format())
        if not is_in_run():
            await flush_in_thread()
        return self.id

    @classmethod
    def get(
        cls, key: str | None = None, client: object = None, *, _sync: bool | None = None
    ) -> Artifact | None:
        """Return the latest artifact of a key; None if there is none.

        In an asynchronous run, and in a coroutine outside of runs, it gives something to await, as
        `aget` does. `_sync=True` gives the artifact there, too.

        Args:
            key: The key; None stands for any, or none. One that no artifact may have finds nothing.
            client: Has no effect; see `create`.

        Raises:
            ServiceUnavailableError: The service is not reached.
        """
        del client
        if gives_awaitable(sync=_sync):
            return cls.aget(key)  # type: ignore[return-value] # as Prefect has it
        if key is not None and not can_be_key(key):
            return None
        with _client() as asked:
            if key is None:
                found = list(asked.read_artifacts(limit=1))
                return _from_service(found[0]) if found else None
            try:
                return _from_service(asked.read_latest_artifact(key))
            except ObjectNotFound:
                return None

    @classmethod
    async def aget(cls, key: str | None = None, client: object = None) -> Artifact | None:
        """The same, for coroutines."""
        del client
        if key is not None and not can_be_key(key):
            return None
        async with _async_client() as asked:
            if key is None:
                found = [each async for each in asked.read_artifacts(limit=1)]
                return _from_service(found[0]) if found else None
            try:
                return _from_service(await asked.read_latest_artifact(key))
            except ObjectNotFound:
                return None

    @classmethod
    def get_or_create(
        cls,
        key: str | None = None,
        description: str | None = None,
        data: Any = None,
        client: object = None,
        *,
        _sync: bool | None = None,
        **kwargs: Any,
    ) -> tuple[Artifact, bool]:
        """The latest artifact of a key, or a new one if there is none.

        Where `get` does, it gives something to await, as `aget_or_create` does.

        Args:
            key: The key.
            description: Of a new one.
            data: Of a new one.
            client: Has no effect; see `create`.
            _sync: As for `get`.
            **kwargs: What else the class takes, for a new one.

        Returns:
            The artifact, and whether it is new.
        """
        del client
        if gives_awaitable(sync=_sync):
            return cls.aget_or_create(key, description, data, **kwargs)  # type: ignore[return-value] # as Prefect has it
        found = cls.get(key, _sync=True)
        if found is not None:
            return found, False
        new = _new(cls, key, description, data, kwargs)
        new.create()
        return new, True

    @classmethod
    async def aget_or_create(
        cls,
        key: str | None = None,
        description: str | None = None,
        data: Any = None,
        client: object = None,
        **kwargs: Any,
    ) -> tuple[Artifact, bool]:
        """The same, for coroutines."""
        del client
        found = await cls.aget(key)
        if found is not None:
            return found, False
        new = _new(cls, key, description, data, kwargs)
        await new.acreate()
        return new, True


class LinkArtifact(Artifact):
    """A link.

    Attributes:
        link: Where it leads.
        link_text: What is to be read; the link itself if None.
    """

    default_type = "link"

    def __init__(self, *, link: str, link_text: str | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self.link = link
        self.link_text = link_text

    def format(self) -> str:
        """The link in Markdown."""
        return f"[{self.link_text or self.link}]({self.link})"


class MarkdownArtifact(Artifact):
    """A text in Markdown.

    Attributes:
        markdown: The text.
    """

    default_type = "markdown"

    def __init__(self, *, markdown: str, **fields: Any) -> None:
        super().__init__(**fields)
        self.markdown = markdown

    def format(self) -> str:
        """The text."""
        return self.markdown


class TableArtifact(Artifact):
    """A table.

    Attributes:
        table: A list of dictionaries or of lists, the rows; a dictionary of lists, the columns; or
            a table, series or array of pandas, polars, pyarrow or numpy.
    """

    default_type = "table"

    def __init__(
        self,
        *,
        table: dict[str, list[Any]]
        | Sequence[dict[str, Any]]
        | Sequence[Sequence[Any]]
        | DataTable,
        **fields: Any,
    ) -> None:
        if not is_instance(table, (dict, list, tuple)) and not is_table(table):
            msg = (
                "a table is a list of dictionaries or lists (the rows), a dictionary of lists (the "
                "columns), or a table, series or array of pandas, polars, pyarrow or numpy, not of "
                f"type {type_name(type(table))}"
            )
            raise TypeError(msg)
        super().__init__(**fields)
        self.table = table

    def format(self) -> Any:
        """Return the table; one of a data library as the list of its rows."""
        return table_form(self.table) if is_table(self.table) else self.table


class ProgressArtifact(Artifact):
    """How far something has come.

    Attributes:
        progress: From 0 to 100. What is below or above becomes that, with a warning.
    """

    default_type = "progress"

    def __init__(self, *, progress: float, **fields: Any) -> None:
        super().__init__(**fields)
        self.progress = checked_progress(progress)

    def format(self) -> float:
        """The number."""
        return self.progress


class ImageArtifact(Artifact):
    """An image that people can open.

    Attributes:
        image_url: Where it is.
    """

    default_type = "image"

    def __init__(self, *, image_url: str, **fields: Any) -> None:
        super().__init__(**fields)
        self.image_url = image_url

    def format(self) -> str:
        """The URL."""
        return self.image_url


def checked_progress(progress: float) -> float:
    """A number from 0 to 100; warns about one that is not.

    Raises:
        TypeError, ValueError: It is no number.
    """
    number = float(progress)
    if math.isnan(number):
        raise ValueError("the progress is not a number (NaN)")
    if not MIN_PROGRESS <= number <= MAX_PROGRESS:
        nearest = min(max(number, MIN_PROGRESS), MAX_PROGRESS)
        _warn(f"A progress of {number:g} % is shown as {nearest:g} %.")
        return nearest
    return number


def _warn(message: str) -> None:
    logger = _logger if current_or_sketched_run() is None else get_run_logger()
    logger.warning(message)


def _new(
    cls: type[Artifact], key: str | None, description: str | None, data: Any, fields: dict[str, Any]
) -> Artifact:
    if cls is Artifact:
        fields = {"data": data, **fields}
    return cls(key=key, description=description, **fields)


def _from_service(stored: StoredArtifact) -> Artifact:
    value = None if stored.data is None else stored.data.json()
    artifact = _Stored(
        type=stored.type, key=stored.key, description=stored.description or None, data=value
    )
    if stored.data is not None and not isinstance(value, str | int | float):
        artifact.data = stored.data.data.decode()
    artifact.id = ArtifactId(int=stored.id.int)
    artifact.flow_run_id = stored.flow_run_id
    artifact.task_run_id = stored.task_run_id
    artifact.created = stored.created_at
    artifact.updated = stored.updated_at
    artifact.stored_value = value
    return artifact


class _Stored(Artifact):
    """One that the service has."""

    stored_value: Any = None

    def format(self) -> Any:
        return self.stored_value


def _client() -> SyncFlowspanClient:
    # gRPC takes long to import, and most programs only make artifacts.
    from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415 - measured, see above

    return SyncFlowspanClient()


def _async_client() -> FlowspanClient:
    from flowspan.api.client import FlowspanClient  # noqa: PLC0415 - as in _client

    return FlowspanClient()


def flush_in_thread() -> Coroutine[Any, Any, None]:
    """Waits as `flush_reports` does, without blocking the event loop."""
    import asyncio  # noqa: PLC0415 - most programs have no use for it

    return asyncio.to_thread(flush_reports)
