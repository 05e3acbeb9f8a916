"""The loop: batches in, steps out, and what must not be lost in between.

Which samples a step sees, how they are augmented and what dropout leaves out are functions of (seed, step) alone. So a
run that was interrupted and resumed makes the very steps of one that was not, and a checkpoint needs no state of random
numbers.
"""

import contextlib
import gc
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import InputError
from .banks import common_bank
from .checkpoint import BEST, LAST, load_checkpoint, start_from
from .config import Config, config_difference
from .devices import Team, autocast, device_words, join_team
from .feeding import Feed
from .holding import empty, hold, make_folder
from .journal import RUN, Journal, machine, read_json, write_json
from .keeping import Keeper
from .losses import LossContext
from .meter import Meter
from .models import build
from .models.base import keep_channels_together
from .objectives import build_loss
from .optics.module import Optics, check_camera
from .optimise import Group, Steps
from .pipeline import Pipeline
from .refusals import check_possible, explained
from .seeds import key
from .stopping import Stop
from .targets import Target
from .validation import LARGER_IS_BETTER, Scores, Shown, draw, in_words, shown

CONFIG = "config.json"
REPORTED_STEPS = 10
"""Steps between two lines of the log."""


class DivergedError(Exception):
    """Training gave numbers that are none: a sentence says where, and where the batch lies."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    step
        Steps made, by this run and those that it resumed.
    steps
        Steps that the config asks for.
    numbers
        What the last validation found; empty without one.
    best
        What the best one found.
    interrupted
        Whether it was stopped by Ctrl-C, and not by a batch system.
    """

    step: int
    steps: int
    numbers: dict[str, float]
    best: dict[str, float]
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end, and was not stopped before."""
        return self.step >= self.steps


def train(
    config: Config, stores: Sequence[str | Path], out: Path, *, resume: bool = False, device: str | None = None
) -> Outcome:
    """Train a model on stores.

    Parameters
    ----------
    config
        What to train, and how.
    stores
        Datasets, one after the other.
    out
        Folder of the run, new or empty; with `resume` that of an interrupted one.
    device
        In the place of the config's: "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    InputError
        If anything given cannot be used.
    DivergedError
        If the loss or its gradient is no number any more.
    """
    with join_team(device or config.run.device) as team:
        training = Training(config, stores, Path(out), team, resume=resume)
        try:
            return training.run()
        except (ValueError, RuntimeError) as error:
            refusal = error if isinstance(error, InputError) else explained(error, config, training.feed, team.device)
            if refusal is None:
                raise
            training.abandon()
            raise refusal from None
        finally:
            training.close()


class Training:
    """A run under way: pipeline of optics and model, optimiser, and where they stand.

    Parameters
    ----------
    As of `train`; `team` are the processes that train together.
    """

    def __init__(self, config: Config, stores: Sequence[str | Path], out: Path, team: Team, *, resume: bool) -> None:
        self.config, self.out, self.team = config, out, team
        state = load_checkpoint(out / LAST) if resume else None
        if state is None and team.leads and not empty(out):
            raise InputError(
                f"{out} is not empty: give another folder, or --resume to go on with the run in it."
                if out.is_dir()
                else f"{out} is a file, and a run is a folder: give another place with --out."
            )
        self.feed = Feed(config, stores, team)
        self.model = build(config.model, key(config.seed, "model")).to(team.device)
        if config.run.channels_last:
            keep_channels_together(self.model)
        if self.model.reads_bank:
            self.model.attach(common_bank(stores))
        self.target = Target(config.target, self.feed.lens, self.feed.depth)
        if self.model.told_depths:
            self.target.check(self.model.bounds)
        check_possible(config, self.model, self.feed)
        self.pipeline = Pipeline(self.model, self._optics())
        context = LossContext(self.target, self.feed.captures, self.feed.depth, self.feed.encoded)
        self.loss = build_loss(config.loss, context)
        self.optimiser = Steps(config.optimiser, config.schedule, self._groups())
        if state is None and config.run.start_from is not None:
            self.model.note = start_from(self.model, config.run.start_from, config.to_dict()["target"])
        self.keeper = Keeper(out, self.pipeline, self.optimiser, config.run.ema)
        self.steps = config.run.length(self.feed.per_epoch)
        self.step, self.best = 0, dict[str, float]()
        self.numbers = dict[str, float]()
        if state is not None:
            self._restore(state)
        self.running = self._wrapped()
        self.stop = Stop()
        self.begins, self.lock = state is None, None
        if team.leads:
            make_folder(out, stores)
            self.lock = hold(out)
            if state is None and not empty(out):
                # Another run began and ended while this one looked at its data.
                raise InputError(f"{out} is not empty any more: give another folder.")
        self.journal = Journal(out, self.step, writes=team.leads, tensorboard=config.run.tensorboard)

    def close(self) -> None:
        """Stop the processes that read, and write what is still held back."""
        if self.team.world > 1:
            # The last to hold a process group must not be torch's wrapper: it waits for the group's threads, which may
            # wait for Python to free a tensor, for ever (torch 2.13 with gloo).
            self.running = self.pipeline
            gc.collect()
        self.feed.close()
        self.journal.close()
        if self.lock is not None:
            self.lock.close()

    def abandon(self) -> None:
        """Leave nothing of a run that was begun in vain."""
        if self.team.leads and self.begins:
            shutil.rmtree(self.out, ignore_errors=True)

    def _optics(self) -> Optics | None:
        settings, seed = self.config.optics, key(self.config.seed, "mask")
        if settings is None:
            return None
        lens = check_camera(self.feed.lens)
        return Optics(settings, lens, self.feed.depth, seed, encoded=self.feed.encoded).to(self.team.device)

    def _groups(self) -> list[Group]:
        """Return what is learned: the network's weights, and the parameters of the mask."""
        own, optics = self.config.optimiser, self.config.optics
        groups = [Group("", [p for p in self.model.parameters() if p.requires_grad], own.rate, own.clip)]
        if optics is not None and self.pipeline.optics is not None:
            learned = [p for p in self.pipeline.optics.parameters() if p.requires_grad]
            groups.append(Group("mask_", learned, optics.rate, optics.clip, decays=False, factor=optics.factor))
        return groups

    def _wrapped(self) -> torch.nn.Module:
        pipeline = self.pipeline
        if self.config.run.compile:
            pipeline = Pipeline(torch.compile(self.model), pipeline.optics)  # type: ignore[arg-type]
        if self.team.world > 1:
            devices = [self.team.device] if self.team.device.type == "cuda" else None
            return torch.nn.parallel.DistributedDataParallel(pipeline, device_ids=devices)
        return pipeline

    def run(self) -> Outcome:
        """Make the steps that are left."""
        if self.begins:
            # From here on the run can be resumed, whatever ends it.
            self._save()
        self._introduce()
        if self.step >= self.steps:
            self.journal.say(f"The run in {self.out} has made its {self.steps} steps; nothing to do.")
            return self._outcome()
        run, meter = self.config.run, Meter()
        every = run.validate_every or max(1, self.steps // 10)
        with self.stop.listening():
            for batch in meter.timed(self.feed.batches(self.step)):
                terms = self._make_step(batch)
                meter.samples += self.config.data.batch_size * self.team.world
                self.step += 1
                if self.step % REPORTED_STEPS == 0 or self.step == self.steps:
                    self._report(terms, meter)
                last = self.step == self.steps or self.team.any(self.stop.wished.is_set())
                if self.step % every == 0 or self.step == self.steps:
                    meter.apart(self._validate)
                if last or self.step % (run.save_every or every) == 0:
                    meter.apart(self._save)
                if last:
                    break
        return self._outcome()

    def _make_step(self, batch: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Make one step; return the terms of its loss."""
        config, step = self.config, self.step
        torch.manual_seed(key(config.seed, "step", step, self.team.rank))
        self.model.train()
        rates = self.optimiser.begin(step, self.steps)
        summed: dict[str, float] = {}
        parts = _parts(batch, config.run.accumulate)
        for i, part in enumerate(parts):
            ready = self.feed.ready(part, step)
            waits = i + 1 < len(parts) and self.team.world > 1
            with self.running.no_sync() if waits else contextlib.nullcontext():  # type: ignore[operator]
                terms = self._terms(self.running, ready, key(config.seed, "noise", step))[0]
                (terms["total"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                summed[name] = summed.get(name, 0.0) + float(value.detach()) / len(parts)
        norms = self.optimiser.norms()
        if not all(map(math.isfinite, (summed["total"], *norms.values()))):
            self._refuse(batch, {**summed, **norms})
        self.optimiser.step()
        self.keeper.update(step)
        return {**summed, **rates, **norms}

    def _terms(
        self, pipeline: torch.nn.Module, batch: Mapping[str, torch.Tensor], noise: int
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the terms of the loss, and what the pipeline said."""
        if "focus" in batch:
            batch = {**batch, "sharp_at": self.target.sharp_at(batch["focus"])}
        targets = dict(batch)
        if "depth" in batch:
            known = torch.where(batch["valid"], batch["depth"], torch.ones_like(batch["depth"]))
            targets["depth"] = self.target.encode(known)
        with autocast(self.team.device, self.config.run.precision):
            outputs = pipeline(batch, noise)
        outputs = {name: value.float() for name, value in outputs.items()}
        terms = self.loss(outputs, targets, batch.get("valid"))
        if "penalty" in outputs:
            terms = {**terms, "penalty": outputs["penalty"], "total": terms["total"] + outputs["penalty"]}
        return terms, outputs

    def _refuse(self, batch: Mapping[str, torch.Tensor], terms: Mapping[str, float]) -> None:
        path = self.out / f"refused-step-{self.step:06d}-rank-{self.team.rank}.npz"
        np.savez(path, **{name: tensor.cpu().numpy() for name, tensor in batch.items()})  # type: ignore[arg-type]
        what = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        raise DivergedError(
            f"step {self.step}: the loss or its gradient is no finite number ({what}). Its batch is "
            f"in {path}; the last checkpoint is from before it. Lower optimiser.rate, or set optimiser.clip"
            f"{'; so with optics.rate and optics.clip.' if self.pipeline.optics else '.'}"
        )

    @torch.no_grad()
    def _validate(self) -> None:
        pipeline = self.keeper.pipeline.eval()
        scores = Scores()
        pictures: list[Shown] = []
        for ready in self.feed.validation():
            terms, outputs = self._terms(pipeline, ready, key(self.config.seed, "validation noise"))
            scores.losses(terms, len(ready["index"]))
            told = {label: self.target.decode(outputs[name]) for label, name in self.model.told_depths.items()}
            if "depth" in ready:
                scores.depths(told, ready["depth"], ready["valid"])
            if "aif" in outputs and "aif" in ready:
                scores.images(outputs["aif"], ready["aif"])
            seen = {"image": outputs["image"]} if "image" in outputs else {}
            pictures += shown({**ready, **seen}, outputs, told, self.config.run.pictures - len(pictures))
        if not scores.sums and self.team.world == 1:
            return
        self.numbers = scores.numbers(self.team)
        if self.model.told_depths and "depth" in self.config.data.targets and "rmse" not in self.numbers:
            raise InputError(
                f"no depth is known in the split {self.feed.unseen.split!r}, or none within data.depth: nothing can be "
                "learned of it."
            )
        self.journal.log(self.step, self.numbers, "validation")
        self.journal.say(f"step {self.step} of {self.steps}: validation {in_words(self.numbers)}")
        if self.team.leads:
            draw(self.out / "pictures" / f"step-{self.step:06d}.png", pictures)
            self.keeper.show_mask(self.step, self.journal)
        name = self.config.run.best
        sign = -1.0 if name in LARGER_IS_BETTER else 1.0
        if not self.best or sign * self.numbers[name] < sign * self.best[name]:
            self.best = {**self.numbers, "step": self.step}
            if self.team.leads:
                self.keeper.save(BEST, self._facts())

    def _facts(self) -> dict[str, Any]:
        return {
            "config": json.dumps(self.config.to_dict()),
            "data": json.dumps(self.feed.facts),
            "step": self.step,
            "steps": self.steps,
            "numbers": self.numbers,
            "best": self.best,
        }

    def _save(self) -> None:
        if self.team.leads:
            self.keeper.save(LAST, self._facts())
        self.begins = self.begins and self.step == 0

    def _restore(self, state: Mapping[str, Any]) -> None:
        if difference := config_difference(json.loads(state["config"]), self.config.to_dict()):
            raise InputError(
                f"the run in {self.out} was begun with another config: {difference}. Give --resume with the config and "
                "the changes that it was begun with, or begin another with a new --out."
            )
        if json.loads(state["data"]) != self.feed.facts:
            raise InputError(f"the run in {self.out} was begun on other data: give the same stores, in the same order.")
        self.keeper.restore(state)
        self.step, self.best, self.numbers = state["step"], state["best"], state["numbers"]

    def _report(self, terms: Mapping[str, float], meter: "Meter") -> None:
        rate, waiting = meter.take()
        named = {"loss" if name == "total" else name: value for name, value in terms.items()}
        self.journal.log(self.step, {**named, "samples_per_second": rate, "waiting": waiting, "seconds": meter.seconds})
        self.journal.status(
            f"step {self.step} of {self.steps}: loss {named['loss']:.4g}, {rate:.3g} samples/s, "
            f"{waiting:.0%} of the time waiting for data"
        )

    def _introduce(self) -> None:
        if not self.team.leads:
            return
        write_json(self.out / CONFIG, self.config.to_dict())
        parameters = sum(p.numel() for p in self.model.parameters())
        facts = {"device": device_words(self.team.device), "processes": self.team.world, "parameters": parameters}
        facts["weights"] = self.model.note if self.begins else read_json(self.out / RUN).get("weights")
        write_json(self.out / RUN, {**machine(), **facts, "steps": self.steps, "data": self.feed.facts})
        self.journal.say(
            f"{self.config.name}: {self.config.model.kind} {parameters / 1e6:.3f} M parameters, {facts['device']}; "
            f"{self.feed.words}; learns {self.target.words if self.model.told_depths else 'sharp images'}."
        )
        if not self.begins:
            self.journal.say(f"Going on after step {self.step} of {self.steps}.")
        else:
            self.journal.say(f"In this model {self.model.note}.")
        if self.pipeline.optics is not None:
            self.journal.say(f"It looks through {self.pipeline.optics.words}.")

    def _outcome(self) -> Outcome:
        return Outcome(self.step, self.steps, self.numbers, self.best, self.stop.interrupted)


def _parts(batch: Mapping[str, torch.Tensor], count: int) -> list[dict[str, torch.Tensor]]:
    length = len(next(iter(batch.values())))
    size = -(-length // count)
    return [{name: tensor[i : i + size] for name, tensor in batch.items()} for i in range(0, length, size)]
