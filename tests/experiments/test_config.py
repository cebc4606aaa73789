import json

import pytest

from feasible_jax.experiments.config import (
    SingleConfig,
    TaskConfig,
    load_single_config,
    preset,
)
from feasible_jax.experiments.ledger import plain


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


def test_single_config_survives_json(tmp_path):
    config = SingleConfig(task=TaskConfig(model="cnn", epochs=3), steps=7)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(plain(config)))
    assert load_single_config(path) == config


@pytest.mark.parametrize("text", ["{", "[]", '{"task": {}}', "null"])
def test_a_foreign_config_is_refused(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.json does not hold"):
        load_single_config(path)


def test_a_missing_config_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match="feasible-jax unlearn"):
        load_single_config(tmp_path / "config.json")
