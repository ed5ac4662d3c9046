"""Artifact classes."""

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
    """An artifact, either new or stored by the service.

    Attributes:
        type: The type, which determines how it is shown.
        key: The key that it is a version of: lower-case letters, digits and dashes; or None.
        description: A description in Markdown; or None.
        data: The content: a string or a number. For a stored artifact, other content is JSON text;
            `value` is the decoded content.
        value: The content as JSON values.
        id: The id; None before the artifact is created.
        flow_run_id: The flow run that it belongs to; None if unknown.
        task_run_id: The task run that created it; None if unknown.
        created: The time of creation; None if unknown.
        updated: The time of the last change; None if unknown.
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
        """The content as JSON values."""
        return self.format()

    def format(self) -> Any:
        """Return the content to store, as JSON values."""
        return self.data

    def create(self, client: object = None, *, _sync: bool | None = None) -> ArtifactId:
        """Create the artifact in the service, as part of the current run if there is one.

        Args:
            client: Ignored. Accepted for compatibility with Prefect.
            _sync: Ignored. The returned id can be awaited.

        Returns:
            The artifact's id.

        Raises:
            TypeError: The content is not JSON-serializable.
            ValueError: The content is too large.
        """
        del client, _sync
        self.id = report_new(self.type, self.key, self.description, self.format())
        if not is_in_run():
            flush_reports()
        return self.id

    async def acreate(self, client: object = None) -> ArtifactId:
        """Create the artifact, as `create`, without blocking the event loop."""
        del client
        self.id = report_new(self.type, self.key, self.description, self.format())
        if not is_in_run():
            await flush_in_thread()
        return self.id

    @classmethod
    def get(
        cls, key: str | None = None, client: object = None, *, _sync: bool | None = None
    ) -> Artifact | None:
        """Return the latest artifact of a key, or None.

        In an asynchronous run, and in a coroutine outside runs, it returns an awaitable, as
        `aget`. `_sync=True` returns the artifact there, too.

        Args:
            key: The key; None for the latest artifact with any key or none. An invalid key finds
                nothing.
            client: Ignored; see `create`.
            _sync: True to return the artifact, False to return a coroutine, independent of the
                context.

        Raises:
            ServiceUnavailableError: The service is unreachable.
        """
        del client
        if gives_awaitable(sync=_sync):
            return cls.aget(key)  # type: ignore[return-value] # as in Prefect
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
        """Return the latest artifact of a key, as `get`."""
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
        """Return the latest artifact of a key, or create one.

        Like `get`, it returns an awaitable in asynchronous code, as `aget_or_create`.

        Args:
            key: The key.
            description: The description of a new artifact.
            data: The content of a new artifact.
            client: Ignored; see `create`.
            _sync: As for `get`.
            **kwargs: Further arguments of the class, for a new artifact.

        Returns:
            The artifact, and True if it is new.
        """
        del client
        if gives_awaitable(sync=_sync):
            return cls.aget_or_create(key, description, data, **kwargs)  # type: ignore[return-value] # as in Prefect
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
        """Return the latest artifact of a key, or create one, as `get_or_create`."""
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
        link: The URL.
        link_text: The text to show; the URL if None.
    """

    default_type = "link"

    def __init__(self, *, link: str, link_text: str | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self.link = link
        self.link_text = link_text

    def format(self) -> str:
        """Return the link in Markdown."""
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
        """Return the text."""
        return self.markdown


class TableArtifact(Artifact):
    """A table.

    Attributes:
        table: A list of dictionaries or lists (the rows), a dictionary of lists (the columns), or
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
                "a table must be a list of dictionaries or lists (the rows), a dictionary of lists "
                "(the columns), or a table, series or array of pandas, polars, pyarrow or numpy, "
                f"not of type {type_name(type(table))}"
            )
            raise TypeError(msg)
        super().__init__(**fields)
        self.table = table

    def format(self) -> Any:
        """Return the table; an object of a data library is converted to a list of rows."""
        return table_form(self.table) if is_table(self.table) else self.table


class ProgressArtifact(Artifact):
    """A progress bar.

    Attributes:
        progress: A percentage from 0 to 100. Values outside are clamped, with a warning.
    """

    default_type = "progress"

    def __init__(self, *, progress: float, **fields: Any) -> None:
        super().__init__(**fields)
        self.progress = checked_progress(progress)

    def format(self) -> float:
        """Return the percentage."""
        return self.progress


class ImageArtifact(Artifact):
    """An image.

    Attributes:
        image_url: The URL of the image, which must be accessible to its viewers.
    """

    default_type = "image"

    def __init__(self, *, image_url: str, **fields: Any) -> None:
        super().__init__(**fields)
        self.image_url = image_url

    def format(self) -> str:
        """Return the URL."""
        return self.image_url


def checked_progress(progress: float) -> float:
    """Return a percentage from 0 to 100; clamp other values and log a warning.

    Raises:
        TypeError, ValueError: The value is not a number.
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
    """An artifact that the service has stored."""

    stored_value: Any = None

    def format(self) -> Any:
        return self.stored_value


def _client() -> SyncFlowspanClient:
    # gRPC is slow to import, and most programs only create artifacts.
    from flowspan.api.client import SyncFlowspanClient  # noqa: PLC0415 - measured, see above

    return SyncFlowspanClient()


def _async_client() -> FlowspanClient:
    from flowspan.api.client import FlowspanClient  # noqa: PLC0415 - as in _client

    return FlowspanClient()


def flush_in_thread() -> Coroutine[Any, Any, None]:
    """Wait as `flush_reports`, without blocking the event loop."""
    import asyncio  # noqa: PLC0415 - most programs do not need it

    return asyncio.to_thread(flush_reports)
