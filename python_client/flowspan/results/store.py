"""The result store: results by key, in a folder, written by a serializer."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from flowspan import clock, config
from flowspan.core.failures import reason_of
from flowspan.core.run import current_run
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import ConfigError, MissingResult, ResultUnreadable
from flowspan.locking import waiting
from flowspan.results.record import ResultRecord, made_record, pack, unpack
from flowspan.results.storage import file_name, open_folder, own_results
from flowspan.results.trusted_storages import note_storage, read_trusted
from flowspan.serializers import get_serializer, short_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from flowspan.locking.protocol import LockManager
    from flowspan.results.storage import Folder
    from flowspan.serializers import SerializerLike

T = TypeVar("T")

_logger = logging.getLogger("flowspan.results")
_NS_PER_S = 1_000_000_000


class ResultStore:
    """A store for results by key.

    Args:
        result_storage: The folder: a path, or a URL that fsspec supports. By default the folder of
            the settings (FLOWSPAN_RESULTS_URL).
        serializer: The serializer for values: an instance or a short name; by default the settings'
            (FLOWSPAN_RESULTS_SERIALIZER, pickle).
        metadata_storage: A separate folder for the files that are looked up by key; these then only
            point to the results. None stores both in one file.
        lock_manager: Locks keys for transactions with the isolation level SERIALIZABLE.

    Raises:
        ValueError, TypeError: An argument has an invalid value.
        ImportError: The library for this kind of URL is not installed.
    """

    def __init__(
        self,
        result_storage: str | Path | None = None,
        *,
        serializer: SerializerLike | str | None = None,
        metadata_storage: str | Path | None = None,
        lock_manager: LockManager | None = None,
    ) -> None:
        settings = config.get_config()
        how, where, index = map(_given, (serializer, result_storage, metadata_storage))
        self.serializer = get_serializer(settings.results_serializer if how is None else how)
        self.lock_manager = lock_manager
        if where is None:
            where = _given(settings.results_url)
        self._folder: Folder = own_results(settings.home) if where is None else open_folder(where)
        self._index: Folder | None = None if index is None else open_folder(index)
        note_storage(self)

    @property
    def url(self) -> str:
        """The URL of the folder."""
        return self._folder.url

    def url_of(self, key: str) -> str:
        """Return the URL of the result with this key, whether it exists or not."""
        return self._folder.url_of(file_name(key))

    def with_metadata_in(self, metadata_storage: str | Path) -> ResultStore:
        """Return a copy of the store with a separate folder for metadata."""
        fresh = copy.copy(self)
        fresh._index = open_folder(metadata_storage)  # noqa: SLF001 - a copy of this one
        return fresh

    def read(self, key: str) -> ResultRecord:
        """Return the record under a key, expired or not; its `result` is the value.

        Raises:
            MissingResult: The key has no record.
            ResultUnreadable: It is damaged, or not a result.
        """
        record = self._read(key)
        if record is None:
            raise MissingResult(f"There is no result {key!r} in {self.url}.")
        return record

    async def aread(self, key: str) -> ResultRecord:
        """Return the record under a key, without blocking the loop; see `read`."""
        return await _in_thread(self.read, key)

    def find(self, key: str, warn: Callable[[str], object] | None = None) -> ResultRecord | None:
        """Return the record under a key if it exists, is intact and has not expired.

        A damaged record counts as missing.

        Args:
            key: The key.
            warn: Called with a warning about a damaged record; by default it is logged.
        """
        try:
            record = self._read(key)
        except Exception as error:  # noqa: BLE001 - file systems may raise anything
            message = f"The result {key!r} in {self.url} is ignored: {reason_of(error)}."
            (warn or _logger.warning)(message)
            return None
        if record is None or (
            record.expires_ns is not None and record.expires_ns <= clock.program_ns()
        ):
            return None
        return record

    def exists(self, key: str) -> bool:
        """Return True if `find` returns a record."""
        return self.find(key) is not None

    async def aexists(self, key: str) -> bool:
        """Return True if `find` returns a record, without blocking the loop."""
        return await _in_thread(self.exists, key)

    def write(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime | None = None,
        run_id: str = "",
    ) -> ResultRecord:
        """Store a value, replacing an existing one.

        Args:
            obj: The value.
            key: The key to store it under; a new one by default.
            expiration: The instant from which caches ignore it; None for never.
            run_id: The run that produced it.

        Returns:
            The record as written.

        Raises:
            SerializationError: The serializer cannot write it.
            OSError: The folder cannot be written to. (Remote file systems may raise others.)
        """
        record = self.prepare(obj, key, expiration, run_id)
        self.write_record(record)
        return record

    async def awrite(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime | None = None,
        run_id: str = "",
    ) -> ResultRecord:
        """Store a value without blocking the loop; see `write`."""
        return await _in_thread(self.write, obj, key, expiration, run_id)

    def prepare(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime | None = None,
        run_id: str = "",
    ) -> ResultRecord:
        """Return the record of a value, to be stored later; see `write`.

        Raises:
            SerializationError: The serializer cannot write it.
        """
        return made_record(
            obj,
            self.serializer,
            key=key or uuid4().hex,
            created_ns=clock.program_ns(),
            expires_ns=None if expiration is None else int(expiration.timestamp() * _NS_PER_S),
            run_id=run_id,
        )

    def write_record(self, record: ResultRecord) -> None:
        """Store a record that `prepare` returned, replacing an existing one.

        Raises:
            OSError: The folder cannot be written to. (Remote file systems may raise others.)
        """
        name = file_name(record.key)
        self._folder.write(name, pack(record))
        if self._index is not None:
            lead = replace(record, body=b"", location=self._folder.url_of(name))
            self._index.write(name, pack(lead))

    def load(self, record: ResultRecord) -> Any:
        """Return the value of a record that was found in this store.

        Raises:
            ResultUnreadable: It cannot be read here.
        """
        return record.load(self.serializer)

    def reference(self, key: str) -> dict[str, str]:
        """Return the reference to a result: its URL, key and serializer."""
        return {"url": self.url_of(key), "key": key, "serializer": short_name(self.serializer)}

    def _read(self, key: str) -> ResultRecord | None:
        name = file_name(key)
        data = (self._index or self._folder).read(name)
        if data is None:
            return None
        record = unpack(data)
        if record.key != key:
            raise ResultUnreadable(f"it belongs to another key ({record.key!r})")
        if not record.location:
            return record
        data = read_trusted(record.location, trust=self.url)
        return None if data is None else replace(unpack(data), expires_ns=record.expires_ns)

    def _locks(self) -> LockManager:
        if self.lock_manager is None:
            raise ConfigError(
                "The result store has no lock manager, which the isolation level SERIALIZABLE "
                "needs: give it one, as in ResultStore(lock_manager=MemoryLockManager())."
            )
        return self.lock_manager

    def acquire_lock(
        self, key: str, holder: str | None = None, timeout: float | None = None
    ) -> bool:
        """Lock a key; see `flowspan.locking`.

        Raises:
            ConfigError: The store has no lock manager.
        """
        return self._locks().acquire_lock(key, holder or self.holder(), acquire_timeout=timeout)

    async def aacquire_lock(
        self,
        key: str,
        holder: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - Prefect's signature
    ) -> bool:
        """Lock a key without blocking the event loop; see `acquire_lock`."""
        return await waiting.acquire(self._locks(), key, holder or self.holder(), timeout)

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Unlock a key; see `flowspan.locking`."""
        self._locks().release_lock(key, holder or self.holder())

    def is_locked(self, key: str) -> bool:
        """Return True if a key is locked."""
        return self._locks().is_locked(key)

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        """Return True if this holder has locked a key."""
        return self._locks().is_lock_holder(key, holder or self.holder())

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until a key is unlocked; return False if the timeout passed first."""
        return self._locks().wait_for_lock(key, timeout)

    async def await_for_lock(
        self,
        key: str,
        timeout: float | None = None,  # noqa: ASYNC109 - Prefect's signature
    ) -> bool:
        """Wait until a key is unlocked, without blocking the event loop; see `wait_for_lock`."""
        return await waiting.wait(self._locks(), key, timeout)

    def supports_isolation_level(self, level: str) -> bool:
        """Return True if transactions with this isolation level can use the store.

        Args:
            level: An `IsolationLevel`, or its name.

        Raises:
            ValueError: There is no such level.
        """
        if level == "READ_COMMITTED":
            return True
        if level == "SERIALIZABLE":
            return self.lock_manager is not None
        raise ValueError(f"{level!r} is not an isolation level: READ_COMMITTED or SERIALIZABLE.")

    def holder(self) -> str:
        """Return the default holder of locks: the current run."""
        run = current_run.get()
        return run.record.id if run is not None else "outside"

    def __repr__(self) -> str:
        return f"ResultStore({self.url!r}, serializer={short_name(self.serializer)!r})"


async def _in_thread(fn: Callable[..., T], *args: Any) -> T:
    from asyncio import to_thread  # noqa: PLC0415 - start-up cost

    return await to_thread(fn, *args)


def _given(option: Any) -> Any:
    """Return an option, or None for empty text, without calling an object's `__bool__`."""
    return None if type(option) is str and not option else option


def get_result_store() -> ResultStore:
    """Return the result store for the current code.

    It follows the options of the current task or flow, or else the settings.
    """
    run = current_run.get()
    result_policy = run.result_policy if run is not None else None
    return (
        store_for(result_policy.storage, result_policy.serializer)
        if result_policy is not None
        else ResultStore()
    )


def store_for(storage: Any, serializer: Any) -> ResultStore:
    """Return the store for options, which may be None; the storage may be a store."""
    if is_instance(storage, ResultStore):
        if serializer is None:
            return storage
        raise TypeError("set the serializer of the ResultStore instead of a result_serializer")
    return ResultStore(storage, serializer=serializer)
