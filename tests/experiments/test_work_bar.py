import io

from rich.console import Console

from feasible_jax.experiments.work_bar import work_bar


def test_the_bar_says_what_is_under_way_and_how_much_is_done():
    out = io.StringIO()
    with work_bar(Console(file=out, force_terminal=True, width=120), "shadows", 20) as advance:
        advance("training 16 original models", 5)
        advance("unlearning 1 of 16", 2)
    text = out.getvalue()
    assert "unlearning 1 of 16" in text
    assert " 7/20" in text


def test_silent_elsewhere():
    out = io.StringIO()
    with work_bar(Console(file=out), "shadows", 2) as advance:
        advance("training", 1)
    assert out.getvalue().strip() == ""
