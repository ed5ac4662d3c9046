"""Server reflection, in both versions and with the comments of the protos.

Tools such as grpcurl ask for version 1, and older ones for v1alpha; the messages of both are the
same on the wire. Generated stubs have no comments, so these come from the descriptor set beside the
stubs. It is read when a client asks for the first time: most services are never asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from concurrent.futures import Executor

    from google.protobuf.descriptor import FileDescriptor

_ALPHA = "grpc.reflection.v1alpha"
_V1 = "grpc.reflection.v1"
SERVICE_NAMES = (f"{_ALPHA}.ServerReflection", f"{_V1}.ServerReflection")
DESCRIPTOR_SET = "descriptors.binpb"
"""The descriptors of flowspan.v1 with their comments, as `make gen` writes them."""


def add_reflection(
    server: grpc.aio.Server, service_names: Iterable[str], readers: Executor
) -> None:
    """Add the services of both versions to a server.

    Args:
        server: The server.
        service_names: The full names of the other services to describe.
        readers: A thread of these reads the descriptors.
    """
    servicer = _Servicer((*service_names, *SERVICE_NAMES), readers)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name in SERVICE_NAMES)
    )


class Described(NamedTuple):
    """The descriptors of all services."""

    pool: DescriptorPool
    with_comments: dict[str, bytes]
    """The serialized files that have comments, by name."""


class _Servicer:
    """The servicer of both versions.

    Args:
        service_names: The full names of all services.
        readers: A thread of these reads the descriptors.
    """

    def __init__(self, service_names: tuple[str, ...], readers: Executor) -> None:
        self._service_names = service_names
        self._readers = readers

    async def ServerReflectionInfo(  # noqa: N802 - the name in the proto
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Yield the answer to each request."""
        # In a thread, because building the descriptors takes as long as many calls.
        loop = asyncio.get_running_loop()
        described = await loop.run_in_executor(self._readers, describe, self._service_names)
        answering: Any = reflection.aio.ReflectionServicer(self._service_names, pool=described.pool)
        async for request in requests:
            asked = reflection_pb2.ServerReflectionRequest()
            asked.CopyFrom(request)
            if asked.file_containing_symbol:
                asked.file_containing_symbol = _found_symbol(
                    described.pool, asked.file_containing_symbol
                )
            async for answer in answering.ServerReflectionInfo(_only(asked), context):
                answer.original_request.CopyFrom(request)
                _add_comments(answer, described.with_comments)
                yield answer


async def _only(request: Any) -> AsyncIterator[Any]:
    yield request


def _found_symbol(pool: DescriptorPool, symbol: str) -> str:
    """Return the symbol, or the owner of a method or field, which the pool does not find."""
    owner, _, name = symbol.rpartition(".")
    with contextlib.suppress(KeyError):
        if name in pool.FindServiceByName(owner).methods_by_name:
            return owner
    with contextlib.suppress(KeyError):
        message = pool.FindMessageTypeByName(owner)
        if name in message.fields_by_name or name in message.oneofs_by_name:
            return owner
    return symbol


def _add_comments(answer: Any, with_comments: dict[str, bytes]) -> None:
    protos = answer.file_descriptor_response.file_descriptor_proto
    for index, data in enumerate(protos):
        name = FileDescriptorProto.FromString(data).name
        protos[index] = with_comments.get(name, data)


@cache
def describe(service_names: tuple[str, ...]) -> Described:
    """Return the descriptors of services and of everything that they depend on."""
    data = files("flowspan.v1").joinpath(DESCRIPTOR_SET).read_bytes()
    found = FileDescriptorSet.FromString(data)
    with_comments = {file.name: file.SerializeToString() for file in found.file}
    pool, added = DescriptorPool(), set[str]()
    for name in service_names:
        if not name.startswith(f"{_V1}."):
            _add(pool, Default().FindFileContainingSymbol(name), added)
    _add(pool, error_details_pb2.DESCRIPTOR, added)  # the details of our errors
    pool.AddSerializedFile(_reflection_v1().SerializeToString())
    return Described(pool, with_comments)


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    """Add a file to a pool, after the files that it imports."""
    if file.name not in added:
        added.add(file.name)
        for imported in file.dependencies:
            _add(pool, imported, added)
        pool.AddSerializedFile(file.serialized_pb)


def _reflection_v1() -> FileDescriptorProto:
    """Return the descriptor of version 1, which grpcio-reflection does not have.

    It differs from that of v1alpha only in the names of the file and of the package.
    """
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = f"{_V1.replace('.', '/')}/reflection.proto"
    file.package = _V1
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = _renamed(field.type_name)
    for method in file.service[0].method:
        method.input_type = _renamed(method.input_type)
        method.output_type = _renamed(method.output_type)
    return file


def _renamed(type_name: str) -> str:
    return type_name.replace(f".{_ALPHA}.", f".{_V1}.")
