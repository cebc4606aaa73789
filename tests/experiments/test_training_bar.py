import io

from rich.console import Console

from feasible_jax.experiments.training_bar import training_bar


def test_the_bar_names_the_model_and_its_loss():
    out = io.StringIO()
    with training_bar(Console(file=out, force_terminal=True, width=100), 2) as on_epoch:
        on_epoch("retrained", 1, 1, 0.25)
    assert "training the retrained model, loss 0.250" in out.getvalue()


def test_silent_elsewhere():
    out = io.StringIO()
    with training_bar(Console(file=out), 2) as on_epoch:
        on_epoch("original", 1, 1, 0.25)
    assert out.getvalue().strip() == ""
