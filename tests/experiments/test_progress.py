import io

from rich.console import Console

from feasible_jax.experiments.config import preset
from feasible_jax.experiments.progress import StudyProgress


def test_elsewhere_than_on_a_terminal_finished_cells_are_lines():
    out = io.StringIO()
    with StudyProgress(preset("digits"), Console(file=out)) as progress:
        progress.advance("training")
        progress.finished("random, seed 0: fine-tuning, plain")
    assert out.getvalue().split("\n")[0] == "random, seed 0: fine-tuning, plain"


def test_on_a_terminal_there_is_a_bar_with_time_left():
    out = io.StringIO()
    config = preset("digits", seeds=1, scenarios=("random",), methods=("fine_tuning",))
    with StudyProgress(config, Console(file=out, force_terminal=True, width=120)) as progress:
        progress.advance("training the original model")
    assert "training the original model" in out.getvalue()
    assert "left:" in out.getvalue()


def test_the_amount_is_epochs_and_looks():
    config = preset("digits", seeds=2, epochs=7, steps=25, look_every=10, learning_rates=(0.1, 0.2))
    progress = StudyProgress(config, Console(quiet=True))
    cells = len(config.methods) * len(config.arms)
    looks = 3 * 2 + 3  # two learning rates on the first seed, one on the second
    expected = len(config.scenarios) * (2 * 7 * 2 + cells * looks)
    assert progress._progress.tasks[0].total == expected


def test_a_one_shot_method_is_looked_at_once_a_setting():
    config = preset("digits", methods=("ssd", "sfron"), steps=25, look_every=10)
    progress = StudyProgress(config, Console(quiet=True))
    trials = len(config.search.learning_rates)
    assert progress.left("ssd", 0, trials - 4) == 4
    assert progress.left("sfron", 0, trials - 4) == 12


def test_cells_that_two_measures_may_choose_for_count_twice_until_they_agree():
    config = preset("digits", steps=10, look_every=5, equal_utility=True, seeds=2)
    progress = StudyProgress(config, Console(quiet=True))
    assert progress.left("sfron", 1, 1) == 2
    assert progress.left("sfron", 1, 2) == 0


def test_methods_of_the_comparison_add_one_arm_each():
    settings = {"methods": ("sfron",), "arms": ("plain", "feasible"), "steps": 10, "look_every": 5}
    bare, more = (
        StudyProgress(preset("digits", **settings, comparison=some), Console(quiet=True))
        for some in ((), ("npo",))
    )
    training = 3 * 2 * 100 * 2
    cells = bare._progress.tasks[0].total - training
    assert more._progress.tasks[0].total - training == 1.5 * cells
