"""Fixtures of tests that run the engine without a reporter."""

from tests.support.recorder_fixtures import no_process_left, recorder

__all__ = ["no_process_left", "recorder"]
