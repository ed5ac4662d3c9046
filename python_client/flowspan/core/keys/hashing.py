"""Hashes of values that are the same in every process.

A value is decomposed into its type and its parts, down to plain values (see
`flowspan.core.keys.forms`). Two values have the same hash if and only if they have the same parts:
1, 1.0 and True differ, and so do a list and a tuple; the order of dictionaries and sets does not
matter. Pickles are never hashed as bytes: equal values may have different pickles.
"""

from __future__ import annotations

from hashlib import sha256
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flowspan.core.failures import summary
from flowspan.core.keys.forms import MAPPING, UNORDERED, Form, Named, form_of
from flowspan.core.keys.object_state import Traits
from flowspan.exceptions import HashError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowspan.core.keys.closure_variables import FirstSeen

_INLINE = frozenset({type(None), bool, float, complex, str, type(...), type(NotImplemented)})
_SCALARS = _INLINE | {int, bytes}
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_MAX_DEPTH = 20_000
_MAX_REMEMBERED = 100_000
"""Maximum number of cached parts, so that shared parts are hashed only once."""
_MAX_RETURNS = 100_000
"""Maximum number of parts in cycles, which cannot be cached."""
_MAX_OPEN = 2_000
"""Maximum number of times that captured state in cycles is hashed, as it cannot be cached."""


def stable_hash(value: Any) -> str:
    """Return the hash of a value, as 32 hex digits.

    Raises:
        HashError: A part of it cannot be hashed; the message names its type and location.
    """
    return Hasher().hash(value)


class Hasher:
    """A hasher for one value.

    Args:
        first_seen: The first-seen tokens, in a task identity. None for values, which count as they
            are.
        active: The ids of the enclosing objects that are being hashed.
        is_json: Compare as JSON does: tuples equal lists, and keys are strings.

    Attributes:
        lowest: The index of the outermost object in `active` that a part refers to.
        closed: The tokens of objects without references to enclosing objects; shared with the inner
            hashers.
        open_count: The number of objects with references to enclosing ones, in a list that is
            also shared.
    """

    def __init__(
        self,
        first_seen: FirstSeen | None = None,
        active: tuple[int, ...] = (),
        *,
        is_json: bool = False,
    ) -> None:
        self.first_seen = first_seen
        self.active = active
        self.is_json = is_json
        self.names_of_types: dict[int, tuple[type, bytes | None]] = {}
        self._traits: dict[int, tuple[type, Traits]] = {}
        self._remembered: dict[int, tuple[Any, bytes]] = {}
        self._path: dict[int, int] = {}
        self._returns = 0
        self._named: dict[str, FunctionType] = {}
        self.lowest = len(active)
        self.closed: dict[int, tuple[Any, bytes]] = {}
        self.open_count = [0]

    def inside(self, thing: Any) -> Hasher:
        """Return a hasher for an object that is captured by the current one."""
        inner = Hasher(self.first_seen, (*self.active, id(thing)))
        inner.closed, inner.open_count = self.closed, self.open_count
        return inner

    def count_open(self) -> None:
        """Count an object that refers to an enclosing one.

        Raises:
            HashError: There are too many of them.
        """
        self.open_count[0] += 1
        if self.is_spent:
            raise HashError("too many of its parts refer to each other")

    @property
    def is_spent(self) -> bool:
        """True if the captured state of a task is too entangled to be hashed."""
        return self.open_count[0] > _MAX_OPEN

    def hash(self, value: Any) -> str:
        """Return the hash of a value, including the functions that it refers to by name.

        Raises:
            HashError: A part of it cannot be hashed.
        """
        digest = sha256(self._token_of(value))
        tokens: dict[str, bytes] = {}
        while len(tokens) < len(self._named):  # each may refer to further ones
            for name, function in list(self._named.items()):
                if name not in tokens:
                    tokens[name] = self._token_of(Form([name, *Named.content(function, self)]))
        for name in sorted(tokens):
            digest.update(tokens[name])
        return digest.hexdigest()[:32]

    def traits_of(self, kind: type) -> Traits:
        """Return the traits of a type, which are computed once."""
        known = self._traits.get(id(kind))
        if known is None:
            known = self._traits[id(kind)] = kind, Traits(kind)
        return known[1]

    def refer_to(self, name: str, function: FunctionType) -> None:
        """Register a function that is referred to by name, to be hashed once at the end."""
        self._named.setdefault(name, function)

    def _token_of(self, root: Any) -> bytes:
        """Return a short text or a digest as the token of a value."""
        stack = [_Frame(None, Form([root]), 0)]
        try:
            return self._walked(stack)
        except HashError as error:
            raise _located(error, stack) from error.__cause__
        except Exception as error:  # code of the value: its type, a property, its pickling
            why = f"it cannot be taken apart ({summary(error)})"
            raise _located(HashError(why), stack) from error
        finally:
            self._path.clear()

    def _walked(self, stack: list[_Frame]) -> bytes:
        """Decompose the values on the stack. No recursion, as values may be nested deeply."""
        while True:
            frame = stack[-1]
            tokens = frame.tokens
            for part in frame.parts:
                kind = type(part)
                if kind in _INLINE:
                    tokens.append(f"{kind.__name__}:{part!r}".encode())
                elif kind is int:
                    tokens.append(b"int:%x" % part)
                elif kind is bytes:
                    tokens.append(b"bytes:" + sha256(part).digest())
                else:
                    token = self._known(part, frame, stack)
                    if token is None:
                        token = self._opened(part, kind, stack)
                    if token is None:
                        break
                    tokens.append(token)
            else:
                token = frame.token()
                stack.pop()
                if not stack:
                    return token
                self._close(frame, token)
                above = stack[-1]
                above.tokens.append(token)
                above.lowest = min(above.lowest, frame.lowest)

    def _known(self, part: Any, frame: _Frame, stack: list[_Frame]) -> bytes | None:
        """Return the token of a part that was seen before, or a reference to an enclosing one."""
        known = self._remembered.get(id(part))
        if known is not None:
            return known[1]
        depth = self._path.get(id(part))
        if depth is None:
            return None
        if all(type(each.value) in _CONTAINERS for each in stack[depth:]):
            raise HashError(f"a {type(part).__name__} contains itself")
        frame.lowest = min(frame.lowest, depth)
        return b"^%d" % (len(stack) - depth)

    def _opened(self, part: Any, kind: type, stack: list[_Frame]) -> bytes | None:
        """Push a part on the stack, or return its token if it need not be decomposed."""
        if kind in {list, tuple} and _SCALARS.issuperset(map(type, part)):
            name = b"list" if self.is_json else kind.__name__.encode()
            try:
                return sha256(b"%s %s" % (name, repr(list(part)).encode())).digest()
            except ValueError:  # an integer above Python's limit of printed digits
                pass
        form = form_of(part, kind, self)
        if isinstance(form, bytes):
            if kind is FunctionType:
                self._remembered[id(part)] = part, form
            return form
        if len(stack) > _MAX_DEPTH:
            raise HashError("it is nested too deeply")
        self._path[id(part)] = len(stack)
        stack.append(_Frame(part, form, len(stack)))
        return None

    def _close(self, frame: _Frame, token: bytes) -> None:
        del self._path[id(frame.value)]
        if frame.lowest < frame.depth:
            self._returns += 1
            if self._returns > _MAX_RETURNS:
                raise HashError("too many of its parts refer to each other")
        elif len(self._remembered) < _MAX_REMEMBERED:
            # The reference keeps the value alive, so that its id is not reused.
            self._remembered[id(frame.value)] = frame.value, token


class _Frame:
    """A value that is being decomposed."""

    __slots__ = ("depth", "form", "lowest", "parts", "tokens", "value")

    def __init__(self, value: Any, form: Form, depth: int) -> None:
        self.value = value
        self.form = form
        self.depth = depth
        self.lowest = depth
        self.parts: Iterator[Any] = iter(form.parts)
        self.tokens: list[bytes] = []

    def token(self) -> bytes:
        """Return the digest of all parts."""
        tokens, order = self.tokens, self.form.order
        if order is UNORDERED:
            tokens = [tokens[0], *sorted(tokens[1:])]
        elif order is MAPPING:
            pairs = zip(tokens[1::2], tokens[2::2], strict=True)
            tokens = [tokens[0], *(each for pair in sorted(pairs) for each in pair)]
        return sha256(b"".join(b"%d:%s" % (len(each), each) for each in tokens)).digest()

    def key(self) -> str | None:
        """Return the key in a mapping whose value is being decomposed."""
        index = len(self.tokens)
        if self.form.order is MAPPING and index and not index % 2:
            key = self.form.parts[index - 1]
            return key if type(key) is str else None
        return None


def _located(error: HashError, stack: list[_Frame]) -> HashError:
    keys = [key for frame in stack if (key := frame.key()) is not None]
    where = f" (at {' → '.join(keys[-4:])})" if keys else ""
    return HashError(f"{error}{where}")
