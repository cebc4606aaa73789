"""What crosses the mesh, read off a compiled program."""

import math
import re

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_CALL = re.compile(rf"= (?P<result>.+?) (?P<kind>{_KINDS})\(")
_ARRAY = re.compile(r"\b([a-z]+[0-9]*)\[([0-9,]*)\]")


def collective_bytes(program: str) -> dict[str, int]:
    """The bytes of the results of each kind of collective.

    Args:
      program: optimized HLO, as from ``compiled.as_text()``; of a CPU, which waits for each;
        a call inside a loop counts once.

    Returns:
      By kind, such as ``"all-reduce"``; empty where nothing crosses.

    >>> collective_bytes("%a = (f32[2,3]{1,0}, f32[]) all-reduce(%b, %c), channel_id=1")
    {'all-reduce': 28}
    """
    found: dict[str, int] = {}
    for line in program.splitlines():
        call = _CALL.search(line)
        if call:
            kind = call["kind"]
            found[kind] = found.get(kind, 0) + _size(call["result"])
    return found


def sent_bytes(of_results: dict[str, int], devices: int) -> float:
    """What each device sends by the usual ring algorithms.

    A ring reduces ``n`` bytes over ``k`` devices by sending ``2 n (k - 1) / k`` from each.

    >>> sent_bytes({"all-reduce": 100}, 4)
    150.0
    """
    share = (devices - 1) / devices
    factor = {"all-reduce": 2 * share, "reduce-scatter": devices - 1, "collective-permute": 1}
    return float(sum(factor.get(kind, share) * size for kind, size in of_results.items()))


def _size(result: str) -> int:
    return sum(
        _BYTES[dtype] * math.prod(int(n) for n in dims.split(",") if n)
        for dtype, dims in _ARRAY.findall(result)
    )
