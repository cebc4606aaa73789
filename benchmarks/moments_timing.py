"""Timing side by side."""

import gc
import time
from collections.abc import Callable
from typing import Any

LEAST_ROUNDS, MOST_ROUNDS = 3, 30
_SECONDS_A_TURN = 0.05


def interleave(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """The seconds of every call, round robin, so that a slow spell of the machine hits them all.

    Args:
      calls: by name; each does its work once and waits for it. Call each once before.
      seconds: start no further round after this many, but always make 3, and at most 30.

    Returns:
      By name, the seconds a call in each round; the mean of as many calls as fill 50 ms.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    # What is here now outlives the rounds; the collections between turns need not walk it.
    gc.freeze()
    start = time.perf_counter()
    for finished in range(MOST_ROUNDS):
        if finished >= LEAST_ROUNDS and time.perf_counter() - start > seconds:
            break
        # Whoever follows a contender that leaves cold caches is another one in every round.
        shift = finished % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            times[name].append(_seconds(calls[name]))
    gc.unfreeze()
    return times


def _seconds(call: Callable[[], Any]) -> float:
    gc.collect()
    count, elapsed = 0, 0.0
    start = time.perf_counter()
    while elapsed < _SECONDS_A_TURN:
        call()
        count += 1
        elapsed = time.perf_counter() - start
    return elapsed / count
