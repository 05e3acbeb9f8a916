"""The field's datasets that have a reader, by the names that recipes use; reading a recipe imports no reader."""

from typing import Final

DATASETS: Final = {
    "nyuv2": "nyu.NyuLabelled",
    "nyu-raw": "nyu.NyuRaw",
    "sun-rgbd": "sun.SunRgbd",
    "make3d": "make3d.Make3d",
    "hypersim": "hypersim.Hypersim",
    "diode": "diode.Diode",
    "ddff12": "ddff.Ddff12",
    "hci": "hci.Hci",
    "sceneflow": "sceneflow.SceneFlow",
    "middlebury": "middlebury.Middlebury",
    "dslr": "dslr.Dslr",
    "tartanair": "tartanair.TartanAir",
    "tum": "rgbd.Tum",
    "redwood": "rgbd.Redwood",
    "scannet": "scannet.Scannet",
    "zedd": "zedd.Zedd",
    "infinigen-defocus": "infinigen.InfinigenDefocus",
    "hammer": "hammer.Hammer",
    "sintel": "sintel.Sintel",
}
"""Kind to `module.Class` in `synth.readers`. One line for each; `docs/contributing.md` says what a new one needs."""
