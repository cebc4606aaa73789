"""Ctrl-C waits for what must not be left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer SIGINT to the end of the block.

    Signals reach Python's main thread alone; elsewhere there is nothing to defer.

    >>> try:
    ...     with uninterrupted():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("finished first")
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    finished first
    interrupted
    """
    before = signal.getsignal(signal.SIGINT)
    # None: a handler that Python did not install, and could not put back.
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    arrived: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if arrived:
            signal.raise_signal(signal.SIGINT)
