"""Names of runs: an adjective and an animal for flow runs, a numbered name for task runs."""

from __future__ import annotations

import inspect
from contextlib import suppress
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from flowspan.core.failures import summary
from flowspan.core.functions import attribute_of
from flowspan.core.limits import MAX_NAME_BYTES
from flowspan.core.type_hints import signature_of
from flowspan.core.values.inspection import is_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_SHOWN = 120

_ADJECTIVES_TEXT = """
agile amber ample azure bold brave breezy bright brisk calm candid cheery civil clever coral
cosmic cozy crimson crisp curious dapper daring deft eager earnest easy elated fair fancy
fearless festive fluent fond frank free fresh gentle giddy glad gleaming golden graceful grand
happy hardy hasty honest humble ideal indigo ivory jaunty jolly jovial keen kind lively loyal
lucid lucky lunar mellow merry mighty mild misty modest neat nimble noble observant olive
patient placid plucky polite prime proud quick quiet rapid ready robust rosy rustic sage serene
sharp shiny silent silver sincere smooth snug solar solid spry steady stellar sturdy sunny swift
tidy tranquil trusty upbeat valiant vivid warm wise witty zesty
"""
_ANIMALS_TEXT = """
albatross alpaca antelope badger bat bear beaver bee beetle bison boar buffalo bullfinch camel
caribou cat chamois cheetah chipmunk cobra condor coot cormorant coyote crab crane cricket crow
cuckoo curlew deer dingo dolphin donkey dove dragonfly duck eagle egret elk emu falcon ferret
finch firefly flamingo fox frog gannet gazelle gecko gibbon giraffe gnu goat goldfinch goose
grouse gull hare hawk hedgehog heron hippo hoopoe hornet horse ibex ibis iguana jackal jackdaw
jaguar jay kestrel kingfisher kiwi koala lark lemur leopard lion lizard llama lobster lynx macaw
magpie mallard marmot marten mole mongoose moose moth mouse mule narwhal newt nightjar ocelot
octopus okapi oriole osprey otter owl oyster panda panther parrot peacock pelican penguin
pheasant pigeon plover pony porcupine puffin puma quail rabbit raccoon raven reindeer robin rook
salamander salmon seal shark sheep shrew skylark sloth snail sparrow squirrel starling stork
swallow swan swift tapir tern thrush tiger toad toucan trout turtle viper vole vulture walrus
weasel whale wolf wombat woodpecker wren yak zebra
"""
_ADJECTIVES = _ADJECTIVES_TEXT.split()
_ANIMALS = _ANIMALS_TEXT.split()


def petname(random_below: Callable[[int], int]) -> str:
    """Return a random name such as "brave-otter".

    Args:
        random_below: Returns a random number from 0 to below its argument.
    """
    return f"{_ADJECTIVES[random_below(len(_ADJECTIVES))]}-{_ANIMALS[random_below(len(_ANIMALS))]}"


def made_run_name(
    template: str | Callable[..., str], arguments: Mapping[str, Any], option: str
) -> str:
    """Return the name of a run from the template or function of its flow or task.

    Args:
        template: A string with parameter names in braces ("load-{day}"), or a function without
            parameters, or one that takes the arguments as `parameters`.
        arguments: The arguments by parameter.
        option: The name of the option in errors: flow_run_name or task_run_name.

    Returns:
        The name, shortened to 256 bytes.

    Raises:
        ValueError: The template uses an unknown parameter, or cannot be filled in.
        TypeError: The function did not return a string.
        Exception: The function raised it.
    """
    if is_instance(template, str):
        try:
            name = template.format(**arguments)
        except Exception as error:
            known = ", ".join(arguments) or "none"
            raise ValueError(
                f"{option}={template!r} cannot be filled in ({summary(error)}); parameters: {known}"
            ) from error
    else:
        name = call_name_function(cast("Callable[..., str]", template), arguments, option)
    data = str.encode(name, "utf-8", "backslashreplace")
    return data[:MAX_NAME_BYTES].decode("utf-8", "ignore")


def receiver_of(fn: Any) -> dict[str, Any]:
    """Return the object or class that a method is bound to, by the name of its first parameter.

    Templates can use it ("{self.region}"). Empty if it is not a bound method.
    """
    code = attribute_of(fn.__func__, "__code__") if type(fn) is MethodType else None
    if code is None or not code.co_argcount:
        return {}
    return {code.co_varnames[0]: fn.__self__}


def call_name_function(
    function: Callable[..., Any], arguments: Mapping[str, Any], option: str
) -> str:
    """Call the function that names a run; see `made_run_name`.

    Raises:
        TypeError: It did not return a string.
        Exception: It raised this itself; a note says that it was naming a run.
    """
    try:
        takes_parameters = _takes_parameters(function)
        name = function(parameters=dict(arguments)) if takes_parameters else function()
    except Exception as error:
        with suppress(Exception):  # any method of the exception may be user code
            BaseException.add_note(
                error,
                f"Raised by the {option} function, which computes the name of the run: the "
                "function of the run was not called.",
            )
        raise
    if inspect.iscoroutine(name):
        name.close()
        raise TypeError(
            f"{option} must be a synchronous function that returns a string, not a coroutine"
        )
    if not is_instance(name, str):
        raise TypeError(f"{option} must return a string, not {_shown(name)}")
    return name


def _takes_parameters(function: Callable[..., Any]) -> bool:
    code = attribute_of(function, "__code__")
    if code is None or attribute_of(function, "__wrapped__") is not None:
        return "parameters" in signature_of(function).parameters
    return "parameters" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - __repr__ is user code
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
