"""What feeds a run: the stores, opened and checked, as batches of training and of validation."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.store import open_store
from .batches import prepare
from .cameras import Camera, common_capture, common_depth, common_lens
from .config import Config
from .data import StoreDataset
from .devices import Team
from .loader import Loader, make_loader
from .order import ShardShuffle
from .samples import Batch


class Feed:
    """Training and validation data of a run.

    Parameters
    ----------
    config
        Of the run.
    stores
        Datasets, one after the other.
    team
        The processes that share the samples.

    Attributes
    ----------
    facts
        Of each store: name and hash of its recipe, digest of its table of samples, its camera; JSON data. Nothing here
        tells where it lies.
    """

    def __init__(self, config: Config, stores: Sequence[str | Path], team: Team) -> None:
        self.settings, self.seed = config.data, config.seed
        self._surface = config.optics is not None
        self.team = team
        cores = os.cpu_count() or 1
        if self.settings.workers * team.world > 4 * cores + 4:
            raise InputError(
                f"data.workers = {self.settings.workers} is too many for the {cores} cores of this machine: each is a "
                "process with torch in it. Lower it."
            )
        paths = [str(path) for path in stores]
        if twice := next((path for path in paths if paths.count(path) > 1), None):
            raise InputError(f"{twice} is given twice: its samples would count twice.")
        self.training = StoreDataset.of(stores, self.settings)
        self.unseen = StoreDataset.of(stores, self.settings, training=False)
        self.facts = [facts_of(path, camera) for path, camera in self.training.cameras.items()]
        _check_apart(paths, self.facts)
        pin = team.device.type == "cuda"
        order = ShardShuffle(
            self.training.shards, self.settings.batch_size, seed=config.seed, window=self.settings.window,
            drop_last=self.settings.drop_last, rank=team.rank, world=team.world,
        )  # fmt: skip
        self.per_epoch = len(order)
        self._loader = make_loader(
            self.training, order, workers=self.settings.workers, prefetch=self.settings.prefetch, pin=pin
        )
        self._checker = self._validation_loader(pin)

    def _validation_loader(self, pin: bool) -> Loader:
        order = ShardShuffle(
            self.unseen.shards, self.settings.batch_size, shuffle=False, rank=self.team.rank, world=self.team.world,
            uneven="drop" if len(self.unseen) >= self.team.world else "pad",
        )  # fmt: skip
        return make_loader(self.unseen, order, workers=0, pin=pin)

    @property
    def lens(self) -> ThinLens | None:
        """The camera of all samples; None where it is not one."""
        return common_lens([Camera.of_dict(one["camera"]) for one in self.facts])

    @property
    def slices(self) -> tuple[int, ...]:
        """Numbers of slices that a model may see; none where it sees no stacks."""
        found = {one.slices for data in (self.training, self.unseen) for one in data.facts.stacks}
        return tuple(sorted({*found, *(self.settings.slices or ())}))

    @property
    def references(self) -> set[str]:
        """In the frame of which slice the ground truth of stacks is, in their recipes' words."""
        return {one.rule for data in (self.training, self.unseen) for one in data.facts.stacks}

    @property
    def captures(self) -> ThinLens | None:
        """The camera of all samples, focused as their single captures are; None where it is not one."""
        return common_capture([open_store(path).recipe for path in self.training.cameras])

    @property
    def depth(self) -> tuple[float, float]:
        """Nearest and farthest depth of the scenes, metres."""
        return common_depth([Camera.of_dict(one["camera"]) for one in self.facts])

    @property
    def encoded(self) -> bool:
        """Whether the model's pictures are sRGB."""
        return self.training.facts.encoding == "srgb" and self.settings.light == "encoded"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model sees, pixels."""
        return self.settings.crop or self.training.facts.size

    @property
    def words(self) -> str:
        """Say in a few words what there is to see."""
        names = ", ".join(one["recipe"] for one in self.facts)
        same = self.settings.train_split == self.settings.validation_split
        others = "the same split to validate on" if same else f"{len(self.unseen)} unseen ones"
        return f"{len(self.training)} samples of {names} to learn from and {others}"

    def epoch(self, step: int) -> int:
        """Return the epoch that a step, counted from 0, belongs to."""
        return step // self.per_epoch

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield the batches from a step on, epoch after epoch, as the stores hold them."""
        self._loader.start(*divmod(step, self.per_epoch))
        yield from itertools.chain.from_iterable(itertools.repeat(self._loader))

    def ready(self, batch: Batch, step: int) -> Batch:
        """Return what the model takes, and is compared with, at a step."""
        return prepare(
            batch, self.settings, self.training.facts, self.team.device, seed=self.seed, epoch=self.epoch(step),
            step=step, surface=self._surface,
        )  # fmt: skip

    def validation(self) -> Iterator[Batch]:
        """Yield all validation data once, ready for the model."""
        self._checker.start(0)
        for batch in self._checker:
            yield prepare(
                batch, self.settings, self.unseen.facts, self.team.device, training=False, surface=self._surface
            )

    def close(self) -> None:
        """Stop the processes that read."""
        self._loader.close()
        self._checker.close()


def _check_apart(paths: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> None:
    """Refuse one dataset by two paths, or a copy of it."""
    there: dict[tuple[str, str], str] = {}
    for path, one in zip(paths, facts, strict=True):
        other = there.setdefault((one["recipe_hash"], one["table"]), path)
        if other != path:
            raise InputError(f"{other} and {path} hold the same samples, which would count twice: give one of them.")


def facts_of(path: str, camera: Camera) -> dict[str, Any]:
    """Return what identifies a store, for checkpoints: JSON data."""
    store = open_store(path)
    return {
        "recipe": store.recipe.name,
        "recipe_hash": store.recipe.hash(),
        "samples": len(store),
        "table": hashlib.sha256((store.path / "samples.csv").read_bytes()).hexdigest(),
        "encoding": store.recipe.output.encoding,
        "camera": camera.to_dict(),
    }
