"""Objects that renew themselves in forked children."""

from __future__ import annotations

import gc
import os

import pytest

from flowspan.after_fork import _objects, renew_after_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


class Owner:
    def __init__(self) -> None:
        self.renewals = 0

    def after_fork(self) -> None:
        self.renewals += 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_renews_them_and_the_parent_does_not() -> None:
    owners = [Owner(), Owner()]
    for owner in owners:
        renew_after_fork(owner)
    child = os.fork()
    if child == 0:
        os._exit(sum(owner.renewals for owner in owners))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert [owner.renewals for owner in owners] == [0, 0]


def test_they_are_forgotten_with_their_last_reference() -> None:
    owner = Owner()
    renew_after_fork(owner)
    assert owner in _objects
    before = len(_objects)
    del owner
    gc.collect()
    assert len(_objects) < before
