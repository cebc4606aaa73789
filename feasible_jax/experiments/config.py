"""What a study consists of, and settings that suit each dataset."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feasible_jax.experiments.choices import ArmName, MethodName, OptimizerName, ScenarioName
from feasible_jax.experiments.ledger import plain, read_json


@dataclass(frozen=True)
class TaskConfig:
    """A dataset, a model and how the training set is divided.

    Attributes:
      dataset: ``"digits"``, ``"fashion_mnist"`` or ``"tfds:NAME"``.
      data_dir: a folder with the dataset's files, or None to look in the usual places.
      model: ``"mlp"``, ``"cnn"`` or ``"resnet18"``.
      fraction: of the training set to forget, in (0, 1); the class scenario forgets a whole class.
      forget_class: the class which the class scenario forgets.
      train_size: number of training examples, None for what validation leaves.
      validation_size: number of validation examples, None for a fifth of the training data.
      test_size: number of test examples, None for all.
      epochs: training epochs of the original and of the retrained model.

    >>> TaskConfig(fraction=0.2).dataset
    'digits'
    """

    dataset: str = "digits"
    data_dir: str | None = None
    model: str = "mlp"
    fraction: float = 0.1
    forget_class: int = 0
    train_size: int | None = None
    validation_size: int | None = None
    test_size: int | None = None
    epochs: int = 100


@dataclass(frozen=True)
class SearchConfig:
    """The search that every arm gets alike: one trial a learning rate.

    A one-shot method takes one step instead, of the whole of its edit at the largest learning rate
    and of parts in proportion at the others. A method with an optimizer of its own tries rates in
    the same proportions, around its own rate as these lie around 0.1.

    Attributes:
      learning_rates: of SGD, or in proportion of another optimizer, each tried for the full number
        of steps.
      confidences: of the tests of feasible updates, each in (0, 1); the trials of an arm that tests
        take them in turn, so that a second hyper-parameter buys it no further trials.
      steps: steps of a run.
      look_every: steps between two looks at the validation set; the best look is kept.
      batch_size: examples drawn from each set at a step.

    >>> SearchConfig(learning_rates=(0.1,)).steps
    120
    """

    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    confidences: tuple[float, ...] = (0.75, 0.95)
    steps: int = 120
    look_every: int = 10
    batch_size: int = 64


@dataclass(frozen=True)
class StudyConfig:
    """Scenarios, methods, arms and seeds to cross.

    Attributes:
      task: the dataset, the model and the division.
      search: the search that every arm gets.
      scenarios: what is to be forgotten.
      methods: base methods by name.
      arms: ways to run each method, by name.
      seeds: number of seeds; each draws its own division, initial parameters and batches.
      equal_utility: whether to keep each run a second time, where it has forgotten the most without
        a loss of utility.
      comparison: further methods that run in the plain arm alone: rows to compare with.

    >>> StudyConfig(seeds=1).task.dataset
    'digits'
    """

    task: TaskConfig = TaskConfig()
    search: SearchConfig = SearchConfig()
    scenarios: tuple[str, ...] = ("corrupted_labels", "random")
    methods: tuple[str, ...] = (
        "gradient_ascent",
        "neg_grad_plus",
        "random_labels",
        "fine_tuning",
    )
    arms: tuple[str, ...] = ("plain", "feasible", "random_mask", "sign_mask")
    seeds: int = 3
    equal_utility: bool = False
    comparison: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunConfig:
    """How one method is run, on whatever task.

    Attributes:
      method: base method.
      arm: plain, feasible, or a control.
      confidence: of each test of feasible updates, in (0, 1).
      density: of the random mask, in [0, 1].
      optimizer: SGD or Adam; the method's own if not given, SGD for all but SCRUB and SCRUB+R.
      learning_rate: of the optimizer; mostly 0.1 if not given, see ``pace_of``.
      momentum: of SGD, in [0, 1).
      steps: number of steps; 100 if not given, 1 where the method is one-shot.
      batch_size: examples drawn from each set at a step.
      seed: decides the division, the training and the batches.

    >>> RunConfig(arm="plain").method
    'neg_grad_plus'
    """

    method: MethodName = "neg_grad_plus"
    arm: ArmName = "feasible"
    confidence: float = 0.95
    density: float = 0.5
    optimizer: OptimizerName | None = None
    learning_rate: float | None = None
    momentum: float = 0.0
    steps: int | None = None
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class SingleConfig(RunConfig):
    """The settings of one run: those of ``RunConfig``, and its task.

    Attributes:
      task: the built-in task, where ``task_function`` is None.
      scenario: of the built-in task.
      task_function: ``"module:function"`` that returns a ``Task``, or None.

    >>> SingleConfig(arm="plain").scenario
    'corrupted_labels'
    """

    task: TaskConfig = TaskConfig()
    scenario: ScenarioName = "corrupted_labels"
    task_function: str | None = None


def check_study(config: StudyConfig) -> None:
    """Raise a ``ValueError`` that names the first setting of a study that cannot work."""
    search = config.search
    for name, values in (
        ("scenarios", config.scenarios),
        ("methods", config.methods),
        ("arms", config.arms),
        ("learning_rates", search.learning_rates),
        ("confidences", search.confidences),
    ):
        if isinstance(values, str) or not values or len(set(values)) != len(values):
            raise ValueError(f"{name}={values!r}: give at least one, each once, as a tuple.")
    twice = set(config.comparison) & set(config.methods)
    if twice or len(set(config.comparison)) != len(config.comparison):
        raise ValueError(
            f"comparison={config.comparison!r}: give each method once, and none of methods."
        )
    check_positive(
        seeds=config.seeds,
        steps=search.steps,
        look_every=search.look_every,
        batch_size=search.batch_size - 1,  # a variance needs two
        epochs=config.task.epochs,
    )
    check_rates(search.learning_rates, search.confidences)


def check_positive(**values: int) -> None:
    """Raise a ``ValueError`` that names the first value that is not a whole number above 0."""
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            least = 2 if name == "batch_size" else 1
            raise ValueError(
                f"{name}={value + least - 1}: give a whole number of at least {least}."
            )


def check_rates(learning_rates: tuple[float, ...], confidences: tuple[float, ...]) -> None:
    """Raise a ``ValueError`` that names the first rate or confidence out of range."""
    for rate in learning_rates:
        if not 0 < rate < float("inf"):
            raise ValueError(f"learning rate {rate}: give a finite number above 0.")
    for confidence in confidences:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence {confidence}: give a probability in (0, 1).")


def preset(dataset: str, **changes: Any) -> StudyConfig:
    """Settings for a dataset that finish in minutes on two cores.

    Args:
      dataset: its name; one without settings of its own gets the small CNN on all its examples.
      **changes: fields of ``StudyConfig``, ``TaskConfig`` or ``SearchConfig`` to set otherwise.

    Returns:
      A ``StudyConfig``.

    Raises:
      ValueError: for a field that none of them has.

    >>> preset("digits", seeds=1, steps=50).search.steps
    50
    """
    config = _PRESETS.get(dataset, _GENERAL)
    parts: dict[str, dict[str, Any]] = {"task": {"dataset": dataset}, "search": {}, "study": {}}
    for name, value in changes.items():
        for part, kind in (("task", TaskConfig), ("search", SearchConfig), ("study", StudyConfig)):
            if name in kind.__dataclass_fields__ and name not in ("task", "search"):
                parts[part][name] = tuple(value) if isinstance(value, list) else value
                break
        else:
            raise ValueError(f"there is no setting named {name!r}.")
    return replace(
        config,
        task=replace(config.task, **parts["task"]),
        search=replace(config.search, **parts["search"]),
        **parts["study"],
    )


def load_single_config(path: Path) -> SingleConfig:
    """The settings that a run folder was made with.

    Args:
      path: its ``config.json``.

    Returns:
      A ``SingleConfig``.

    Raises:
      FileNotFoundError: if the file is not there.
      ValueError: if it is damaged, or not the configuration of a single run.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: give a folder that `feasible-jax unlearn` wrote."
        )
    values = read_json(path)
    try:
        task = TaskConfig(**values.get("task", {}))
        config = SingleConfig(**values | {"task": task})
        if plain_single(config) != values:
            raise TypeError("other settings")
        return config
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not hold the settings of a single run: give a folder that "
            "`feasible-jax unlearn` wrote."
        ) from error


def plain_single(config: SingleConfig) -> dict[str, Any]:
    """The settings of a single run as JSON knows them; of a user's task, none of a built-in one.

    >>> "task" in plain_single(SingleConfig(task_function="my_task:make_task"))
    False
    """
    unused = () if config.task_function is None else ("task", "scenario")
    return {name: value for name, value in plain(config).items() if name not in unused}


_GENERAL = StudyConfig(task=TaskConfig(model="cnn", epochs=70), search=SearchConfig(steps=100))
_PRESETS = {
    "digits": StudyConfig(),
    "fashion_mnist": StudyConfig(
        task=TaskConfig(
            dataset="fashion_mnist",
            model="cnn",
            train_size=6000,
            validation_size=2000,
            epochs=70,
        ),
        search=SearchConfig(steps=100),
    ),
}
