"""Statistics are tested as statistics: a pass rate against its binomial law."""

import numpy as np
import pytest


def assert_binomial(passes, probability):
    """Fail if the pass rate is 4.5 standard errors away: once in 150,000 fresh seeds."""
    passes = np.asarray(passes)
    error = np.sqrt(probability * (1 - probability) / passes.size)
    assert abs(passes.mean() - probability) < 4.5 * error, (passes.mean(), probability, error)


@pytest.fixture(scope="session")
def binomial():
    return assert_binomial
