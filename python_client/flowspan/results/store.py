"""The result store: results by key, in a folder, through a serializer."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flowspan import clock, config
from flowspan.core.failures import reason_of
from flowspan.core.run import current_run
from flowspan.core.values.inspection import is_instance
from flowspan.exceptions import ConfigError, MissingResult, ResultUnreadable
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

_logger = logging.getLogger("flowspan.results")
_NS_PER_S = 1_000_000_000


class ResultStore:
    """Results by key.

    Args:
        result_storage: The folder: a path, or a URL that fsspec knows. By default the one that the
            settings name (FLOWSPAN_RESULTS_URL).
        serializer: How values become bytes: an instance or a short name; by default the settings'
            (FLOWSPAN_RESULTS_SERIALIZER, pickle).
        metadata_storage: A folder of its own for what is found by key, which then only leads to
            the results; None keeps both in one file.
        lock_manager: Guards keys for transactions with the isolation level SERIALIZABLE.

    Raises:
        ValueError, TypeError: An argument has a value that it may not have.
        ImportError: The library for that kind of URL is not installed.
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
        """Where the result with that key is, or would be."""
        return self._folder.url_of(file_name(key))

    def with_metadata_in(self, metadata_storage: str | Path) -> ResultStore:
        """The same store, with a folder of its own for what is found by key."""
        fresh = copy.copy(self)
        fresh._index = open_folder(metadata_storage)  # noqa: SLF001 - a copy of this one
        return fresh

    def read(self, key: str) -> ResultRecord:
        """The record under a key, expired or not; its `result` is the value.

        Raises:
            MissingResult: There is none.
            ResultUnreadable: It is damaged, or something else.
        """
        record = self._read(key)
        if record is None:
            raise MissingResult(f"There is no result {key!r} in {self.url}.")
        return record

    def find(self, key: str, warn: Callable[[str], object] | None = None) -> ResultRecord | None:
        """The record under a key if it is there, is sound and has not expired.

        What is damaged is as good as not there.

        Args:
            key: The key.
            warn: What to call with a warning about that; it is logged by default.
        """
        try:
            record = self._read(key)
        except Exception as error:  # noqa: BLE001 - file systems raise what they like
            message = f"The result {key!r} in {self.url} is passed over: {reason_of(error)}."
            (warn or _logger.warning)(message)
            return None
        if record is None or (
            record.expires_ns is not None and record.expires_ns <= clock.program_ns()
        ):
            return None
        return record

    def exists(self, key: str) -> bool:
        """Whether `find` finds something."""
        return self.find(key) is not None

    def write(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime | None = None,
        run_id: str = "",
    ) -> ResultRecord:
        """Stores a value, instead of one that is there.

        Args:
            obj: The value.
            key: Under which it is to be found; a new one by default.
            expiration: From when on a cache does not find it any more; None if always.
            run_id: The run whose result it is.

        Returns:
            The record as it was written.

        Raises:
            SerializationError: The serializer cannot write it.
            OSError: The folder cannot be written to. (Remote file systems may raise others.)
        """
        record = self.prepare(obj, key, expiration, run_id)
        self.write_record(record)
        return record

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
        """Store a record that `prepare` returned, instead of one that is there.

        Raises:
            OSError: The folder cannot be written to. (Remote file systems may raise others.)
        """
        name = file_name(record.key)
        self._folder.write(name, pack(record))
        if self._index is not None:
            lead = replace(record, body=b"", location=self._folder.url_of(name))
            self._index.write(name, pack(lead))

    def load(self, record: ResultRecord) -> Any:
        """The value of a record that was found here.

        Raises:
            ResultUnreadable: It cannot be read here.
        """
        return record.load(self.serializer)

    def reference(self, key: str) -> dict[str, str]:
        """What leads to a result from elsewhere: its URL, key and serializer."""
        return {"url": self.url_of(key), "key": key, "serializer": short_name(self.serializer)}

    def _read(self, key: str) -> ResultRecord | None:
        name = file_name(key)
        data = (self._index or self._folder).read(name)
        if data is None:
            return None
        record = unpack(data)
        if record.key != key:
            raise ResultUnreadable(f"it is that of another key ({record.key!r})")
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
        """Locks a key; see `flowspan.locking`.

        Raises:
            ConfigError: The store has no lock manager.
        """
        return self._locks().acquire_lock(key, holder or self.holder(), acquire_timeout=timeout)

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Unlocks a key; see `flowspan.locking`."""
        self._locks().release_lock(key, holder or self.holder())

    def is_locked(self, key: str) -> bool:
        """Whether somebody has locked a key."""
        return self._locks().is_locked(key)

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        """Whether that holder has locked a key."""
        return self._locks().is_lock_holder(key, holder or self.holder())

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Waits until nobody has a key locked; False if the time was over before."""
        return self._locks().wait_for_lock(key, timeout)

    def holder(self) -> str:
        """Who locks here: the current run."""
        run = current_run.get()
        return run.record.id if run is not None else "outside"

    def __repr__(self) -> str:
        return f"ResultStore({self.url!r}, serializer={short_name(self.serializer)!r})"


def _given(option: Any) -> Any:
    """Return an option, or None for an empty text; an object is not asked for its truth."""
    return None if type(option) is str and not option else option


def get_result_store() -> ResultStore:
    """The store that holds for the code that is running here.

    It is that of the options of the current task or flow, or else of the settings.
    """
    run = current_run.get()
    result_policy = run.result_policy if run is not None else None
    return (
        store_for(result_policy.storage, result_policy.serializer)
        if result_policy is not None
        else ResultStore()
    )


def store_for(storage: Any, serializer: Any) -> ResultStore:
    """The store for options that may be None, or a store."""
    if is_instance(storage, ResultStore):
        if serializer is None:
            return storage
        raise TypeError("give the ResultStore its serializer itself, and no result_serializer")
    return ResultStore(storage, serializer=serializer)
