import io

import numpy as np
import pytest
import rich.console

from feasible_jax.unlearning.progress import progress_bar
from feasible_jax.unlearning.step import Record


def record(losses, kept, alive=(True, True)):
    arrays = {name: np.array(values) for name, values in losses.items()}
    return Record(
        arrays, np.array(kept), {}, {}, np.zeros(len(alive), bool), {}, {}, np.array(alive)
    )


@pytest.fixture
def screen(monkeypatch):
    """What a terminal would show."""
    stream = io.StringIO()

    class Terminal(rich.console.Console):
        def __init__(self, **kwargs):
            super().__init__(**kwargs, file=stream, force_terminal=True, width=160)

    monkeypatch.setattr(rich.console, "Console", Terminal)
    return stream


def test_a_terminal_sees_losses_kept_fraction_and_time_left(screen):
    with progress_bar("neg grad", 4, show=True) as report:
        report(record({"forget": [0.5, 0.625], "retain": [9.0, 8.0]}, [1.0, 0.25]))
        half = screen.getvalue()
        report(record({"forget": [0.5, 0.75], "retain": [9.0, 7.0]}, [1.0, 0.5]))
    assert "compiling" in half
    text = screen.getvalue()
    assert "neg grad" in text
    assert "4/4" in text
    assert "forget 0.75, retain 7; kept 50%" in text
    assert "0:00:00" in text


def test_the_bar_shows_steps_that_were_taken_and_objectives_that_acted(screen):
    losses = {"forget": [0.5, np.nan, 99.0], "retain": [np.nan, 2.0, 99.0], "never": [np.nan] * 3}
    with progress_bar("m", 2, show=True) as report:
        report(record(losses, [1.0, 0.5, 0.99], alive=(True, True, False)))
        report(record(losses, [1.0, 0.5, 0.99], alive=(False, False, False)))
    text = screen.getvalue()
    assert "forget 0.5, retain 2; kept 50%" in text
    assert "99" not in text
    assert "nan" not in text
    assert "never" not in text


def test_brackets_in_a_name_are_not_markup(screen):
    with progress_bar("GA [/mine]", 2, show=True) as report:
        report(record({"forget [bold]": [0.5, 0.5]}, [1.0, 1.0]))
    assert "GA [/mine]" in screen.getvalue()
    assert "forget [bold] 0.5" in screen.getvalue()


def test_silence_where_unwanted(screen):
    with progress_bar("m", 2, show=False) as report:
        report(record({"forget": [0.5, 0.75]}, [1.0, 1.0]))
    assert screen.getvalue() == ""


def test_silence_away_from_a_terminal(capfd):
    with progress_bar("m", 2, show=True) as report:
        report(record({"forget": [0.5, 0.75]}, [1.0, 1.0]))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
