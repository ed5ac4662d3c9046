"""Every operation names a method that the protos have, with the messages that it takes."""

from __future__ import annotations

import inspect

import pytest
from google.protobuf import descriptor_pool

from flowspan.api import StateType, operations
from flowspan.api.aio import AsyncServiceClient
from flowspan.api.client import ServiceClient

ARGUMENTS = {"run_id": "r", "state_type": StateType.CANCELLING}
OPERATIONS = {
    name: function
    for name, function in inspect.getmembers(operations, inspect.isfunction)
    if not name.startswith("_")
    and function.__module__ == operations.__name__
    and name not in {"dataclass"}
}


def call_of(function):
    wanted = inspect.signature(function).parameters.values()
    needed = {
        parameter.name: ARGUMENTS[parameter.name]
        for parameter in wanted
        if parameter.default is inspect.Parameter.empty
    }
    made = function(**needed)
    if isinstance(made, operations.Paged):
        return made.page("")
    return made


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_the_method_is_that_of_the_protos(name):
    call = call_of(OPERATIONS[name])
    service, _, method = call.method.removeprefix("/").partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    request = call.request if isinstance(call, operations.Unary) else call.request()
    assert request.DESCRIPTOR.full_name == found.input_type.full_name
    assert call.response.DESCRIPTOR.full_name == found.output_type.full_name


@pytest.mark.parametrize("face", [ServiceClient, AsyncServiceClient])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_face_has_every_operation(name, face):
    method = getattr(face, name)
    assert method.__doc__ == OPERATIONS[name].__doc__
