"""What every step is fed: the sets in memory, and of each stream batches that nobody has seen."""

import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from feasible_jax.unlearning.batches import Drawn, Layout
from feasible_jax.unlearning.placement import (
    Part,
    check_divides,
    mesh_of,
    part_of_process,
    whole_on,
)
from feasible_jax.unlearning.processes import gathered
from feasible_jax.unlearning.streams import Stream, StreamEnded


class Role(NamedTuple):
    """What the batches of a stream are for at every step.

    Attributes:
      chooses: whether one takes part in the choice of the update, as objective or evidence.
      certifies: whether others certify it.
    """

    chooses: bool
    certifies: bool


class Feed:
    """Gives every step its batches, ``() -> data``, or None where a stream has ended.

    Of a stream, one batch chooses the update and those after it certify it: a certificate must know
    nothing of the choice.

    Args:
      sets: the sets in memory, by name.
      streams: by name.
      roles: what each stream is for.
      certify_batch_size: as many batches certify as make up so many examples.
      mesh: where arrays live, or None.
      layout: how batches lie there.

    Raises:
      ValueError: if a stream has too few batches for one step, batches that do not divide over the
        mesh or differ between processes that hold the same, or the same batch for the choice and
        the certificate.
    """

    def __init__(
        self,
        sets: Mapping[str, Any],
        streams: Mapping[str, Stream],
        roles: Mapping[str, Role],
        certify_batch_size: int,
        mesh: Mesh | None,
        layout: Layout | None,
    ):
        self._sets, self._streams, self._roles = sets, streams, roles
        self._certify_batch_size, self._mesh, self._layout = certify_batch_size, mesh, layout
        self._part = Part(0, 1) if layout is None else part_of_process(layout.batches)
        self.ended: str | None = None
        self._a_step: dict[str, int] = {}
        if streams and layout is None and jax.process_count() > 1:
            raise ValueError(
                "every process reads batches of its own, but nothing says how they make one: pass "
                "batch_sharding=."
            )
        self._check_parts()
        try:
            self.first = self._take()
        except StreamEnded as error:
            raise ValueError(f"{error}: one step takes more.") from error
        self._waiting: Any = self.first

    def __call__(self) -> dict[str, Any] | None:
        """The data of the next step."""
        try:
            data = self._take() if self._waiting is None else self._waiting
        except StreamEnded as error:
            self.ended = str(error)
            return None
        self._waiting = None
        return data

    def skip(self, steps: int) -> None:
        """Leave out what earlier steps were fed, so that a resumed run goes on where it was.

        Raises:
          ValueError: if a stream ends before that.
        """
        if not steps:
            return
        self._waiting = None
        for name, stream in self._streams.items():
            try:
                stream.skip((steps - 1) * self._a_step[name])
            except StreamEnded as error:
                raise ValueError(
                    f"{error}, but {steps} steps were taken of it before: give the same stream, "
                    "from its beginning."
                ) from error

    def _take(self) -> dict[str, Any]:
        drawn = {}
        for name, stream in self._streams.items():
            before = stream.taken
            chooses, certifies = self._roles[name]
            choosing = stream.take() if chooses else None
            certifying = self._certifying(stream, choosing) if certifies else None
            drawn[name] = Drawn(self._put(name, choosing), self._put(name, certifying))
            self._a_step[name] = stream.taken - before
        return {**self._sets, **drawn}

    def _check_parts(self) -> None:
        """Raise where processes that hold one part of a batch have read different examples."""
        if self._part.count == jax.process_count():
            return
        for name, stream in self._streams.items():
            if _is_global(stream.peek()):
                continue
            digest = 0
            for leaf in jax.tree.leaves(stream.peek()):
                digest = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), digest)
            found = gathered(np.array([self._part.index, digest], np.uint32))
            if len({tuple(row) for row in found.tolist()}) > self._part.count:
                raise ValueError(
                    f"processes that hold one part of a batch have read different examples of the "
                    f"{name} stream: of {self._part.count} parts, let each read the one that "
                    "fj.unlearning.part_of_process(batch_sharding) says."
                )

    def _certifying(self, stream: Stream, choosing: Any) -> Any:
        parts = [stream.take()]
        size = _size(parts[0]) * (1 if _is_global(parts[0]) else self._part.count)
        parts += [stream.take() for _ in range(math.ceil(self._certify_batch_size / size) - 1)]
        if any(_same(choosing, part) for part in parts):
            raise ValueError(
                f"the {stream.name} stream gave a batch for the certificate that chose the update "
                "already, and a certificate needs examples that know nothing of the choice: let "
                "the stream give other examples each time."
            )
        if len(parts) == 1:
            return parts[0]
        if mesh_of(parts) is not None:
            raise ValueError(
                f"the {stream.name} stream gives batches of {size} examples that are on a mesh "
                f"already, too few for certify_batch_size={self._certify_batch_size}: give larger "
                "ones, or NumPy arrays."
            )
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _put(self, name: str, batch: Any) -> Any:
        """The batch on the devices: of several processes, each has read its own part of it."""
        lie = whole_on(self._mesh) if self._layout is None else self._layout.batches

        def put(leaf):
            if lie is None or _is_global(leaf):
                return jnp.asarray(leaf)
            return jax.make_array_from_process_local_data(lie, np.asarray(leaf))

        if batch is None:
            return None
        if not _is_global(batch):
            size = _size(batch) * self._part.count
            check_divides(self._layout, **{f"{name} stream, examples a batch": size})
        return jax.tree.map(put, batch)


def _size(batch: Any) -> int:
    return jax.tree.leaves(batch)[0].shape[0]


def _is_global(tree: Any) -> bool:
    return mesh_of(tree) is not None


def _same(one: Any, other: Any) -> bool:
    """Whether two batches are one; of arrays on devices, whether they are the same objects."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=False)
    return one is not None and all(
        a is b
        or (
            isinstance(a, np.ndarray)
            and isinstance(b, np.ndarray)
            and np.array_equal(a[:1], b[:1])
            and np.array_equal(a, b)
        )
        for a, b in pairs
    )
