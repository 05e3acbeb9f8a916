"""The RPSF paper: a mask learned with the network that reads depth through it, noisy captures, sharp images again."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ...evaluate.paper_page import PaperPicture, PaperTable, Reproduction
from ...evaluate.relations import Relation
from ...evaluate.tables import TableRow
from ..steps import Evaluate, Step, Train, numbers_of
from .base import Paper, Scale, Sizes, changes

TITLE = "Depth and sharp images from diffracted rotation"
CITATION = (
    "End-to-end Learning for Joint Depth and Image Reconstruction from Diffracted Rotation: the ablation of the mask "
    "(Table 4), depth with noise (6.1) and image restoration (Table 1)."
)
ABLATION = {
    "all-in-focus input": ("aif", 2.649),
    "fixed single helix": ("single", 1.117),
    "fixed double helix": ("double", 0.815),
    "learned mask": ("learned", 0.699),
}
"""Rows of the ablation, from worst to best: the folders of their runs, and the paper's RMSE in radians of defocus."""
NOISE = {"noise-free captures": 0.392, "noisy captures, fine-tuned": 0.712}
RESTORATION = {
    "coded image": ("as-captured", 19.01, 0.611),
    "classical Wiener": ("wiener", 18.75, 0.449),
    "deep Wiener": ("deblur", 24.46, 0.760),
}
METRIC = "rmse_defocus"


@dataclass(frozen=True, slots=True, kw_only=True)
class RpsfSizes(Sizes):
    """What a scale is made of; `training` is of the networks that read depth.

    Attributes
    ----------
    optics
        Options of `train` that say how captures are rendered.
    learning
        Changes of the config for the mask that is learned.
    tuning, deblurring
        Options of `train` on noisy captures.
    """

    optics: tuple[str, ...]
    learning: tuple[str, ...]
    tuning: tuple[str, ...]
    deblurring: tuple[str, ...]


GAUSSIAN = 'optics.sensor={ bits = 12, cfa = "none", shot_noise = "none", full_well = 10000, read_noise = 50 }'
"""Additive noise of the ablation, half a hundredth of white: the paper's is "simple Gaussian", its level is lost."""
BLENDED = "optics.mask.form=blend"
"""Of every mask. Where zones meet, the soft rings of the paper's Eq. 5 add their phases: that takes four tenths of a
double helix's light elsewhere and a seventh of a single one's, and a tenth of both where zones are blended."""
SMALL_CROPS = ("data.crop=[64, 64]", "run.channels_last=true")
"""What networks that read depth are fed at the scale `small`: crops, their channels last in memory.

The networks are those of the configs. Tuning is fed as the learning was that it goes on with."""
SIZES: dict[Scale, RpsfSizes] = {
    "smoke": RpsfSizes(
        scenes=changes("scenes.count=40", "scenes.size=[128, 160]",
                    "output.splits={ train = 0.7, val = 0.1, test = 0.2 }"),
        optics=changes("optics.planes=9", "optics.size=31", "optics.renderer=eq7"),
        learning=(),
        training=changes("run.steps=60", "data.crop=[64, 64]", "run.channels_last=true", "data.validation_split=val"),
        tuning=changes("run.steps=20", "data.crop=[64, 64]", "data.validation_split=val"),
        deblurring=changes("run.steps=40", "data.crop=[64, 64]", "data.validation_split=val"),
        variant="-smoke", seeds=(0,), judged=8,
    ),
    "small": RpsfSizes(
        # Pixels of twice the size behind the same lens: fewer of them to learn from, and PSFs half as wide in them.
        scenes=changes("scenes.count=1500", "scenes.size=[120, 160]", "camera.pixel_pitch=24 um", "psf.size=21",
                    "output.splits={ train = 0.86, val = 0.04, test = 0.1 }"),
        optics=changes("optics.planes=9", "optics.size=21", "optics.renderer=eq7"),
        learning=("optics.rate=3e-2", "optics.hold=100", "optics.warm_up=100"),
        training=changes("run.steps=3000", *SMALL_CROPS, "data.batch_size=16", "optimiser.rate=3e-3", "run.ema=0.99",
                      "run.validate_every=1000", "data.validation_split=val"),
        tuning=changes("run.steps=600", *SMALL_CROPS, "data.batch_size=16", "optimiser.rate=1e-3",
                    "data.validation_split=val"),
        deblurring=changes("run.steps=1000", "data.crop=[64, 64]", "data.validation_split=val"),
        variant="-smoke", seeds=(0, 1, 2), judged=150,
    ),
    "full": RpsfSizes(
        scenes=changes("scenes.count=6053", "output.splits={ train = 0.839, val = 0.0917, test = 0.0693 }"),
        optics=changes("optics.renderer=eq7"),
        learning=(),
        training=changes("data.validation_split=val"),
        tuning=changes("run.steps=50000", "data.validation_split=val"),
        deblurring=changes("data.validation_split=val"),
        variant="", seeds=(0, 1, 2), judged=420,
    ),
}  # fmt: skip
"""`full` has the paper's iterations and numbers of scenes (5078, 555 and 420)."""


class Rpsf(Paper):
    """The three stages of the paper, and its ablation."""

    name = "rpsf"
    title, citation, scales = TITLE, CITATION, SIZES

    sizes: RpsfSizes

    def _ablation(self, row: str, seed: int) -> Train:
        if row == "aif":
            # Of the optics' config, so that nothing but the optics differs.
            options = changes("data.input=aif", 'data.augment.flips=["left-right"]')
            return self._train("fixed", row, seed, options)
        fixed = {"single": "1", "double": "2"}
        if row in fixed:
            mask = changes(
                BLENDED, "optics.learn=false", f"optics.mask.lobes={fixed[row]}", "optics.mask.confinement=0.5"
            )
        else:
            mask = self._learning
        return self._train("learned", row, seed, (*self.sizes.optics, *mask, *changes(GAUSSIAN)))

    @property
    def _learning(self) -> tuple[str, ...]:
        # The better one of the fixed masks is where learning begins: the paper's own beginning is lost.
        return changes(BLENDED, "optics.mask.lobes=2", "optics.mask.confinement=0.5", *self.sizes.learning)

    def _train(self, config: str, row: str, seed: int, options: tuple[str, ...]) -> Train:
        name = f"unet-rpsf-{config}{self.sizes.variant}"
        given = ("--seed", str(seed), *self.sizes.training, *options)
        return Train(name, self._scenes, self.run(row, seed), given)

    @property
    def _scenes(self) -> Path:
        return self.out / "scenes"

    @property
    def steps(self) -> list[Step]:
        """Everything that is done, in order: all of the first seed, then the ablation of the others.

        The three stages wait for each other, so that what follows keeps the other processors busy.
        """
        sizes, first = self.sizes, self.seeds[0]
        learned, captures = self.run("noise-free", first), self.out / "captures"
        tuned, deblur = self.run("tuned", first), self.run("deblur", first)
        seed = ("--seed", str(first))
        return [
            self.generate("rpsf-double", "scenes", *changes('output.arrays=["aif", "depth"]')),
            *self._rows(first),
            self._train("learned", "noise-free", first, (*sizes.optics, *self._learning)),
            self.report("noise-free"),
            self.generate("rpsf-double", "captures", "--mask", str(learned / "mask.json"),
                          *changes("sensor.preset=rpsf", 'output.arrays=["aif", "depth", "capture", "raw"]')),
            Train(f"unet-rpsf-fixed{sizes.variant}", captures, tuned,
                  (*seed, *sizes.tuning, *changes(f"run.start_from={learned}"))),
            self.report("noise"),
            Train(f"dwdn{sizes.variant}", captures, deblur, (*seed, *sizes.deblurring)),
            self.report("restoration"),
            *(step for other in self.seeds[1:] for step in self._rows(other)),
        ]  # fmt: skip

    def _rows(self, seed: int) -> list[Step]:
        return [*(self._ablation(row, seed) for row, _ in ABLATION.values()), self.ablation(seed)]

    def ablation(self, seed: int) -> Evaluate:
        """Return the step that judges the ablation's runs of one seed."""
        runs = tuple(self.run(row, seed) for row, _ in ABLATION.values())
        return Evaluate(runs, self._scenes, self.out / f"report-ablation-{seed}", self.unseen)

    def report(self, name: str) -> Evaluate:
        """Return the step that judges the runs of one of the other tables."""
        first, captures = self.seeds[0], self.out / "captures"
        out, test = self.out / f"report-{name}", self.unseen
        if name == "noise-free":
            return Evaluate((self.run("noise-free", first),), self._scenes, out, test)
        if name == "noise":
            return Evaluate((self.run("tuned", first),), captures, out, test)
        options = ("--depth-from", str(self.run("tuned", first)))
        baselines = ("--baseline", "as-captured", "--baseline", "wiener")
        return Evaluate((self.run("deblur", first),), captures, out, (*test, *options, *baselines))

    def found(self) -> Reproduction:
        """Gather what the reports say."""
        first = self.seeds[0]
        judged = {seed: self.ablation(seed).judged() for seed in self.seeds}
        ablation = {
            name: [numbers_of(judged[seed][f"{row}-{seed}"])[METRIC] for seed in self.seeds]
            for name, (row, _) in ABLATION.items()
        }
        noise = [
            numbers_of(self.report(report).judged()[f"{run}-{first}"])[METRIC]
            for report, run in (("noise-free", "noise-free"), ("noise", "tuned"))
        ]
        restored = self.report("restoration").judged()
        images = {
            name: numbers_of(restored[f"{row}-{first}" if row == "deblur" else row])
            for name, (row, *_) in RESTORATION.items()
        }
        return self.page(
            tables=self._tables(ablation, noise, images),
            relations=[*_ordered(ablation), *_restored(images)],
            pictures=self._pictures(),
        )

    def _tables(
        self, ablation: dict[str, list[float]], noise: list[float], images: dict[str, dict[str, float]]
    ) -> list[PaperTable]:
        return [
            PaperTable(
                title="Ablation of the mask (Table 4)",
                rows=[TableRow(name=name, values={METRIC: values}) for name, values in ablation.items()],
                paper={name: {METRIC: number} for name, (_, number) in ABLATION.items()},
                note="RMSE of the defocus phase, whose range is \u221210 to 10 rad; unseen scenes. Captures have "
                "Gaussian noise as the paper's, here 0.005 of white in linear light: its level in the paper is lost.",
            ),
            PaperTable(
                title="Depth with and without noise",
                rows=[TableRow(name=name, values={METRIC: value}) for name, value in zip(NOISE, noise, strict=True)],
                paper={name: {METRIC: number} for name, number in NOISE.items()},
                note=f"Of seed {self.seeds[0]}, whose mask made the noisy captures.",
            ),
            PaperTable(
                title="Restoration (Table 1)",
                rows=[
                    TableRow(name=name, values={m: numbers[m] for m in ("psnr", "ssim")})
                    for name, numbers in images.items()
                ],
                paper={name: {"psnr": psnr, "ssim": ssim} for name, (_, psnr, ssim) in RESTORATION.items()},
                note="Depth, which tells the PSF of a pixel, is the fine-tuned network's, not the true one.",
            ),
        ]

    def _pictures(self) -> list[PaperPicture]:
        learned = self.run("learned", self.seeds[0])
        masks = sorted((learned / "pictures").glob("mask-step-*.png"))
        mask = [
            PaperPicture(
                caption="The learned mask: its height, and its PSFs over defocus",
                picture=np.asarray(Image.open(path).convert("RGB")),
            )
            for path in masks[-1:]
        ]
        return mask + self.pictures({"Captures through it, and what is read": learned})


def _ordered(ablation: dict[str, list[float]]) -> list[Relation]:
    names = list(ABLATION)
    return [
        Relation(
            text=f"RMSE: {better} below {worse}",
            better=ablation[better],
            worse=ablation[worse],
            paper=(ABLATION[better][1], ABLATION[worse][1]),
        )
        for worse, better in itertools.pairwise(names)
    ]


def _restored(images: dict[str, dict[str, float]]) -> list[Relation]:
    relations: list[Relation] = []
    for metric, place in (("psnr", 1), ("ssim", 2)):
        for worse in ("coded image", "classical Wiener"):
            numbers: Sequence[float] = [float(RESTORATION[name][place]) for name in ("deep Wiener", worse)]
            relations.append(
                Relation(
                    text=f"{metric.upper()}: deep Wiener above {'the ' if worse[0] == 'c' else ''}{worse}",
                    better=[images["deep Wiener"][metric]],
                    worse=[images[worse][metric]],
                    paper=(numbers[0], numbers[1]),
                    higher=True,
                )
            )
    return relations
