"""What differs between two sets of settings, in words."""

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase a setting that differs, groups of settings opened.

    Args:
      before: settings as JSON knows them.
      now: likewise.

    Returns:
      Phrases such as ``"steps was 100, is 50"``; none where the two are equal.

    >>> differences({"steps": 100, "task": {"epochs": 5}}, {"steps": 50, "task": {"epochs": 5}})
    ['steps was 100, is 50']
    """
    flat_before, flat_now = dict(_flat(before)), dict(_flat(now))
    return [
        f"{name} was {_show(flat_before, name)}, is {_show(flat_now, name)}"
        for name in [*flat_now, *(name for name in flat_before if name not in flat_now)]
        if flat_before.get(name, _ABSENT) != flat_now.get(name, _ABSENT)
    ]


_ABSENT = object()


def _flat(settings: Mapping[str, Any]):
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _show(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "not there"
