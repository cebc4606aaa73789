from feasible_jax.report.settings import settings_of


def test_several_learning_rates_were_a_search():
    [(name, text)] = settings_of({"learning_rates": [0.001, 0.01]})
    assert name == "Learning rate"
    assert text.startswith("chosen for every method and arm among 0.001, 0.01, by the mean gap")
    assert "test set had no say" in text


def test_the_configuration_may_say_how():
    [(_, text)] = settings_of({"learning_rates": [0.001, 0.01], "selection": "by hand"})
    assert text.endswith("0.01, by hand")


def test_one_learning_rate_was_not_tuned():
    assert settings_of({"learning_rates": [0.01]}) == [("Learning rate", "0.01, not tuned")]


def test_unknown_and_missing_settings_are_left_out():
    assert settings_of({"colour": "red", "steps": None}) == []


def test_groups_of_settings_are_opened():
    config = {"task": {"epochs": 60}, "search": {"steps": 200, "look_every": 10}, "seeds": 3}
    assert settings_of(config) == [
        ("Steps", "at most 200; a look every 10 steps, and the best look is kept"),
        ("Epochs of the original and the retrained model", "60"),
        ("Seeds", "3"),
    ]


def test_a_single_run():
    config = {"learning_rate": 0.1, "seed": 0}
    assert settings_of(config) == [("Learning rate", "0.1, not tuned"), ("Seed", "0")]


def test_values_in_words():
    config = {"steps": {"random": 400, "class": 40}, "confidence": 0.75, "seeds": (0, 1)}
    assert [text for _, text in settings_of(config)] == ["random: 400, class: 40", "0.75", "0, 1"]
