"""Ctrl-C: it waits for what must not be left half done, and is never lost."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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


@contextmanager
def delivered_again() -> Iterator[None]:
    """Inside the block, a KeyboardInterrupt that others drop or hide is one after all.

    Python drops exceptions where there is nobody to raise them to, and JAX has it call back at
    every garbage collection: such a one comes again soon after. Modules in C++ whose initialization
    is interrupted raise an ImportError from it: that is taken for what it was.

    >>> import gc, time
    >>> def callback(phase, info):
    ...     gc.callbacks.remove(callback)
    ...     signal.raise_signal(signal.SIGINT)
    >>> gc.callbacks.append(callback)
    >>> try:
    ...     with delivered_again():
    ...         _ = gc.collect()
    ...         time.sleep(10)
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    interrupted
    """

    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, hook
    try:
        yield
    except ImportError as error:
        cause: BaseException | None = error
        while cause is not None:
            cause = cause.__cause__
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = before
