import json

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


def test_a_folder_of_other_settings_is_refused(feasible_jax, own_task, tmp_path):
    arguments = ("unlearn", "--out", tmp_path / "run", "--task", f"{own_task}:make", *TINY)
    assert feasible_jax(*arguments)[0] == 0
    status, printed = feasible_jax(*arguments, "--seed", 3)
    assert status == 2
    assert "other settings" in printed


def test_help_says_what_each_option_is(feasible_jax):
    status, printed = feasible_jax("unlearn", "--help")
    assert status == 0
    for words in ("module:function", "corrupted_labels", "in (0, 1)"):
        assert words in " ".join(printed.replace("│", " ").split())
