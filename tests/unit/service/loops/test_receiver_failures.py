"""The pauses after failures of a receiver, and the time to give it up."""

from __future__ import annotations

from itertools import pairwise

from flowspan_service.domain.otlp_receivers import Receiver
from flowspan_service.domain.sessions import OTLP_GRPC
from flowspan_service.loops.receiver_failures import FIRST_PAUSE_S, GIVE_UP_S, MAX_PAUSE_S, Failures

NAMED = Receiver(OTLP_GRPC, "http://client:1")
OWN = Receiver(OTLP_GRPC, "http://own:1", is_own=True)
S = 1_000_000


def test_pauses_grow_up_to_a_maximum_and_end_with_a_success() -> None:
    failures = Failures(NAMED)
    assert not failures.is_failing
    pauses = []
    for number in range(8):
        assert failures.add(0) is (number == 0)
        assert failures.is_failing
        pauses.append(failures.pause_us(0))
    assert pauses[0] == FIRST_PAUSE_S * S
    assert pauses[-1] == MAX_PAUSE_S * S
    assert all(later == min(2 * earlier, MAX_PAUSE_S * S) for earlier, later in pairwise(pauses))
    assert failures.pause_us(pauses[-1] - 1) == 1
    assert failures.pause_us(pauses[-1] + 1) == 0
    assert failures.end()
    assert not failures.end()
    assert not failures.is_failing
    assert failures.pause_us(0) == 0
    failures.add(0)
    assert failures.pause_us(0) == FIRST_PAUSE_S * S, "the next row begins anew"


def test_only_a_receiver_that_a_client_named_is_given_up() -> None:
    named, own = Failures(NAMED), Failures(OWN)
    late_us = round(GIVE_UP_S * S) + 5
    assert not named.is_hopeless(late_us), "it has not failed"
    for failures in (named, own):
        failures.add(5)
        failures.add(late_us - 1)
    assert not named.is_hopeless(late_us - 1)
    assert named.is_hopeless(late_us)
    assert not own.is_hopeless(late_us)
    named.end()
    assert not named.is_hopeless(late_us)
