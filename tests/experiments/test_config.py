import json

import pytest

from feasible_jax.experiments.config import (
    SingleConfig,
    TaskConfig,
    load_single_config,
    plain_single,
    preset,
)


def test_preset_changes_reach_the_right_part():
    config = preset("digits", seeds=1, epochs=7, learning_rates=[0.1], model="cnn")
    assert (config.seeds, config.task.epochs, config.task.model) == (1, 7, "cnn")
    assert config.search.learning_rates == (0.1,)


def test_an_unknown_dataset_gets_general_settings_under_its_own_name():
    config = preset("tfds:mnist")
    assert config.task.dataset == "tfds:mnist"
    assert config.task.model == preset("fashion_mnist").task.model


def test_an_unknown_setting_is_named():
    with pytest.raises(ValueError, match="'batchsize'"):
        preset("digits", batchsize=3)


@pytest.mark.parametrize(
    "config",
    [
        SingleConfig(task=TaskConfig(model="cnn", epochs=3), steps=7),
        SingleConfig(task_function="mine:make", arm="plain"),
    ],
    ids=["built in", "of the user's own"],
)
def test_single_config_survives_json(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(plain_single(config)))
    assert load_single_config(path) == config


def test_a_task_of_the_users_own_has_no_settings_of_a_built_in_one():
    own = plain_single(SingleConfig(task_function="mine:make"))
    assert not {"task", "scenario"} & set(own)
    assert own["task_function"] == "mine:make"
    assert own["batch_size"] == 64


@pytest.mark.parametrize("text", ["[]", '{"task": {}}', '{"task": 3}', "null", '{"colour": "red"}'])
def test_a_foreign_config_is_refused(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.json does not hold"):
        load_single_config(path)


def test_a_damaged_config_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(plain_single(SingleConfig()))[:-20])
    with pytest.raises(ValueError, match=r"config\.json is damaged.*delete it"):
        load_single_config(path)


def test_a_missing_config_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match="feasible-jax unlearn"):
        load_single_config(tmp_path / "config.json")
