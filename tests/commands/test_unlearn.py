import gc
import gzip
import json
import re
import resource
import shlex
import signal

import jax
import pytest

from feasible_jax.experiments.stopwatch import Stopwatch

TIMED = ("seconds", "rte_minutes", "rte_ratio")
TINY = ("--steps", 4, "--batch-size", 8, "--method", "gradient_ascent", "--learning-rate", 0.05)


def test_a_task_of_ones_own_without_a_retrained_model(feasible_jax, own_task, tmp_path):
    status, printed = feasible_jax(
        "unlearn", "--out", tmp_path / "run", "--task", f"{own_task}:make", *TINY
    )
    assert status == 0, printed
    rows = json.loads((tmp_path / "run/results.json").read_text())
    assert [row["method"] for row in rows] == ["original", "gradient ascent"]
    assert (tmp_path / "run/index.html").is_file()
    assert (tmp_path / "run/checkpoint").is_dir()
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["task_function"] == f"{own_task}:make"
    assert not {"task", "scenario"} & set(config)


def test_a_one_shot_method_takes_one_whole_step_unless_told_otherwise(
    feasible_jax, own_task, tmp_path
):
    status, printed = feasible_jax(
        "unlearn", "--out", tmp_path / "run", "--task", f"{own_task}:make", "--method", "ssd"
    )
    assert status == 0, printed
    row = json.loads((tmp_path / "run/results.json").read_text())[-1]
    assert (row["method"], row["learning_rate"], row["steps"]) == ("SSD", 1.0, 1)
    assert row["seconds"] > 0


def test_a_wrong_flag_value_names_the_allowed_ones(feasible_jax, tmp_path):
    status, printed = feasible_jax("unlearn", "--out", tmp_path, "--method", "ascent")
    assert status != 0
    for name in ("gradient_ascent", "neg_grad_plus", "random_labels", "fine_tuning", "l1_sparse"):
        assert name in printed
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_run_that_goes_on_when_asked_to(
    feasible_jax, own_task, tmp_path, monkeypatch
):
    arguments = (
        "unlearn", "--out", tmp_path / "my run", "--task", f"{own_task}:make", *TINY, "--steps", 40,
    )  # fmt: skip
    lap = Stopwatch.lap

    def interrupted(self, params):
        lap(self, params)
        if len(self.laps) == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Stopwatch, "lap", interrupted)
        status, printed = feasible_jax(*arguments)
    assert status == 130
    command = shlex.join(map(str, ("feasible-jax", *arguments, "--resume")))
    assert printed.splitlines()[-1] == f"Interrupted. To go on where it stopped: {command}"

    for refused, message in (
        (arguments, "interrupted after 20 of 40 steps: add --resume to go on"),
        ((*arguments, "--resume", "--seed", 3), "other settings: seed was 0, is 3. Give another"),
        (("evaluate", "--run", tmp_path / "my run"), "interrupted after 20 of 40 steps: finish it"),
    ):
        status, printed = feasible_jax(*refused)
        assert status == 2
        assert message in " ".join(printed.split())
        assert "Traceback" not in printed
    assert not (tmp_path / "my run/results.json").exists()

    files = [path for path in (tmp_path / "my run/state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole[: len(whole) // 2])
    status, printed = feasible_jax(*arguments, "--resume")
    assert status == 2
    assert "damaged" in printed
    assert "Traceback" not in printed
    largest.write_bytes(whole)

    status, printed = feasible_jax(*arguments, "--resume")
    assert status == 0, printed
    rows = json.loads((tmp_path / "my run/results.json").read_text())
    assert rows[-1]["steps"] == 40
    assert (tmp_path / "my run/index.html").is_file()


def test_a_method_that_goes_back_does_so_after_ctrl_c_too(feasible_jax, tmp_path, monkeypatch):
    arguments = (
        "unlearn", "--scenario", "random", "--method", "scrub_r", "--arm", "plain", "--steps", 50,
        "--learning-rate", 0.01,
    )  # fmt: skip
    lap = Stopwatch.lap

    def interrupted(self, params):
        lap(self, params)
        if len(self.laps) == 5:
            signal.raise_signal(signal.SIGINT)

    whole, run = ((*arguments, "--out", tmp_path / name) for name in ("whole", "run"))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam refuses strict promotion
        assert feasible_jax(*whole)[0] == 0
        with monkeypatch.context() as patch:
            patch.setattr(Stopwatch, "lap", interrupted)
            assert feasible_jax(*run)[0] == 130
        status, printed = feasible_jax(*run, "--resume")
    assert status == 0, printed
    rows = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "run")]
    rows = [{k: v for k, v in row[-1].items() if k not in TIMED} for row in rows]
    assert rows[0] == rows[1]
    assert (rows[0]["method"], rows[0]["steps"]) == ("SCRUB+R", 50)
    assert re.fullmatch("went back to where it was after [1-4]0 of 50 steps", rows[0]["note"])
    assert rows[0]["note"] in " ".join(printed.split())


# Where a write fails, threads of Orbax are left with an event loop that is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_an_error_and_no_traceback(feasible_jax, own_task, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        status, printed = feasible_jax(
            "unlearn", "--out", tmp_path / "run", "--task", f"{own_task}:make", *TINY
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        gc.collect()
    assert status == 2, printed
    assert "free some space" in " ".join(printed.split())
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "content",
    [gzip.compress(bytes(100), mtime=0)[:20], b"\x80\x04no IDX"],
    ids=["truncated", "no IDX"],
)
def test_a_data_file_that_cannot_be_read_is_named(feasible_jax, tmp_path, content):
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    status, printed = feasible_jax(
        "unlearn", "--out", tmp_path / "run", "--dataset", "fashion_mnist", "--data-dir", tmp_path
    )
    assert status == 2
    assert "train-labels-idx1-ubyte.gz" in printed.replace("\n", "")
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def test_help_says_what_each_option_is(feasible_jax):
    status, printed = feasible_jax("unlearn", "--help")
    assert status == 0
    for words in ("module:function", "corrupted_labels", "in (0, 1)"):
        assert words in " ".join(printed.replace("│", " ").split())
