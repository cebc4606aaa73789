import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from feasible_jax.experiments.config import SingleConfig, TaskConfig, plain_single
from feasible_jax.experiments.ledger import Ledger
from feasible_jax.experiments.run_method import paced
from feasible_jax.experiments.single import run_single
from feasible_jax.experiments.stopwatch import Stopwatch
from feasible_jax.unlearning.checkpoint import load_params
from feasible_jax.unlearning.saved_run import read_saved

CONFIG = SingleConfig(
    task=TaskConfig(train_size=200, validation_size=100, test_size=100, epochs=3),
    method="gradient_ascent",
    learning_rate=0.01,
    momentum=0.5,
    steps=4,
    batch_size=16,
)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    return folder, run_single(CONFIG, folder, progress=False)


def test_rows_checkpoint_and_curves(single):
    folder, outcome = single
    assert [row["method"] for row in outcome.study.rows] == [
        "original",
        "retrained",
        "gradient ascent",
    ]
    assert outcome.study.rows[-1]["steps"] == 4
    assert len(outcome.study.curves["histograms"]) == 3
    loaded = load_params(folder / "checkpoint", outcome.result.params)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(outcome.result.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_neither_models_nor_a_finished_run_are_made_again(single, monkeypatch):
    folder, outcome = single
    module = sys.modules["feasible_jax.experiments.build_task"]
    monkeypatch.setattr(module, "train", pytest.fail)
    monkeypatch.setattr(Stopwatch, "lap", pytest.fail)
    again = run_single(CONFIG, folder, progress=False)
    assert again.study.rows[-1] == outcome.study.rows[-1], "the run time included"


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"confidence": 1.0},
        {"arm": "x"},
        {"method": "x"},
        {"scenario": "x"},
    ],
)
def test_settings_that_cannot_work_leave_no_trace(tmp_path, changes):
    with pytest.raises(ValueError, match=r"x|steps|batch_size|rate|momentum|confidence"):
        run_single(replace(CONFIG, **changes), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


class TestAnInterruptedRun:
    @pytest.fixture
    def own(self, own_task):
        return SingleConfig(
            task_function=f"{own_task}:make", arm="certified", momentum=0.5, steps=30, batch_size=8
        )

    def interrupt(self, config, folder, monkeypatch, chunks=2, **options):
        """Interrupt a run after so many chunks, the last of which is lost."""

        def lap(self, params):
            original(self, params)
            if len(self.laps) == chunks:
                raise KeyboardInterrupt

        original = Stopwatch.lap
        with monkeypatch.context() as patch:
            patch.setattr(Stopwatch, "lap", lap)
            with pytest.raises(KeyboardInterrupt):
                run_single(config, folder, progress=False, **options)

    def test_goes_on_when_asked_to(self, own, tmp_path, monkeypatch):
        whole = run_single(own, tmp_path / "whole", progress=False)
        self.interrupt(own, tmp_path / "run", monkeypatch, resume=True)
        assert read_saved(tmp_path / "run" / "state").step == 10
        resumed = run_single(own, tmp_path / "run", resume=True, progress=False)
        for part in ("params", "opt_state", "history"):
            one, other = getattr(resumed.result, part), getattr(whole.result, part)
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        timed = ("seconds", "rte_minutes", "rte_ratio")
        for a, b in zip(resumed.study.rows, whole.study.rows, strict=True):
            assert {k: v for k, v in a.items() if k not in timed} == {
                k: v for k, v in b.items() if k not in timed
            }
        laps = Ledger(tmp_path / "run", plain_single(paced(own))).read("laps")["seconds"]
        assert len(laps) == 3

    @pytest.mark.usefixtures("promoting")
    def test_goes_back_as_an_undisturbed_one_does(self, tmp_path, monkeypatch):
        config = replace(
            CONFIG, method="scrub_r", arm="plain", scenario="random", momentum=0.0, steps=40,
            batch_size=8,
        )  # fmt: skip
        whole = run_single(config, tmp_path / "whole", progress=False)
        assert whole.result.rewound_to < 40, "a run that stays shows nothing"
        self.interrupt(config, tmp_path / "run", monkeypatch, chunks=4)
        state = tmp_path / "run" / "state"
        assert read_saved(state).step == 30
        assert whole.result.rewound_to in [step for step, _ in read_saved(state).looks]
        resumed = run_single(config, tmp_path / "run", resume=True, progress=False)
        assert resumed.result.rewound_to == whole.result.rewound_to
        for a, b in zip(
            jax.tree.leaves(resumed.result), jax.tree.leaves(whole.result), strict=True
        ):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        assert [step for step, _ in read_saved(state).looks] == [whole.result.rewound_to]
        note = f"went back to where it was after {whole.result.rewound_to} of 40 steps"
        assert whole.study.rows[-1]["note"] == resumed.study.rows[-1]["note"] == note
        monkeypatch.setattr(Stopwatch, "lap", pytest.fail)
        again = run_single(config, tmp_path / "run", progress=False)
        assert again.study.rows == resumed.study.rows

    def test_is_not_passed_over(self, own, tmp_path, monkeypatch):
        self.interrupt(own, tmp_path / "run", monkeypatch)
        sys.modules["task_of_my_own"].make = pytest.fail
        with pytest.raises(FileExistsError, match=r"state.*after 10 of 30 steps: add --resume"):
            run_single(own, tmp_path / "run", progress=False)
        with pytest.raises(ValueError, match="other settings: steps was 30, is 20"):
            run_single(replace(own, steps=20), tmp_path / "run", resume=True, progress=False)

    def test_a_folder_that_cannot_be_written_to_is_found_first(self, own, read_only):
        sys.modules["task_of_my_own"] = None
        with pytest.raises(PermissionError, match="run cannot be written"):
            run_single(own, read_only() / "run", progress=False)


def test_a_certified_run_says_how_much_was_certified(tmp_path):
    outcome = run_single(replace(CONFIG, arm="certified"), tmp_path, progress=False)
    row, certificates = outcome.study.rows[-1], outcome.result.history.certificates
    assert row["arm"] == "certified"
    assert row["feasible"]
    assert row["certified"] == pytest.approx(certificates.accepted.mean())
    assert (outcome.result.history.abstained >= ~certificates.accepted).all()


def test_run_time_leaves_out_compilation(single):
    _, outcome = single
    assert outcome.study.rows[-1]["seconds"] > 0
