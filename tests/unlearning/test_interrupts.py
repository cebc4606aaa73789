import signal
import sys
import threading
import time

import pytest

from feasible_jax.unlearning.interrupts import delivered_again, uninterrupted


def test_ctrl_c_comes_after_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_of_a_block_that_fails_is_not_forgotten():
    with pytest.raises(KeyboardInterrupt) as caught, uninterrupted():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise ValueError("failed")
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *args: None])
def test_other_handlers_are_put_back(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_nothing_to_defer():
    done = []

    def work():
        with uninterrupted():
            done.append("all")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["all"]


class Lost:
    """Interrupted where Python has nobody to raise to."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_comes_again():
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), delivered_again():  # noqa: PT012
        Lost()
        time.sleep(10)
    assert sys.unraisablehook is before


def test_other_exceptions_that_python_drops_go_where_they_went(monkeypatch):
    class Failing:
        def __del__(self):
            raise ValueError("dropped")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
    with delivered_again():
        Failing()
    assert seen == [ValueError]


def test_an_interrupted_import_is_an_interrupt():
    failed = ImportError("initialization failed")
    failed.__cause__ = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), delivered_again():
        raise ImportError("no such extension") from failed
    with pytest.raises(ImportError, match="no such module"), delivered_again():
        raise ImportError("no such module") from ValueError()
