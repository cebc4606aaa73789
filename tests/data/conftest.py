from pathlib import Path

import pytest


class Payload:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def payload():
    """``mark -> object``: what creates the file where it is unpickled."""
    return Payload
