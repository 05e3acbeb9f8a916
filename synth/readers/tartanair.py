"""TartanAir, versions 1 and 2."""

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from .base import Frame, Item, Reader, matching, relative
from .cameras import camera, expect_size
from .depth import known
from .files import read_depth, read_image, read_packed_depth

_SKY = 1e4  # metres


class TartanAir(Reader):
    """TartanAir: rendered flights through environments indoors and outdoors, of versions 1 and 2.

    `path` is the dataset's folder, one environment, or a folder above. Version 1:
    ``abandonedfactory/Easy/P000/image_left/000000_left.png`` and ``depth_left/000000_left_depth.npy`` (Easy or Hard; an
    archive may repeat the environment's name), 640x480. Version 2:
    ``AbandonedCable/Data_easy/P000/image_lcam_front/000000_lcam_front.png`` and
    ``depth_lcam_front/000000_lcam_front_depth.png``, 640x640. Read is the left camera, of version 2 the one that looks
    ahead.

    Depth is z (not ray distance) in metres, float32: as `.npy`, or as the bytes of four channels of an 8-bit PNG, which
    image viewers show as noise. 0 is unknown. The sky is a dome at a huge distance: from 10 km on, depth is `inf`. In
    the environments amusement and ocean of version 1, others found this not to hold and leave them out.

    f = 320 px, principal point (320, 240) or (320, 320); frames of other sizes are refused. There is no official split.
    One group is one environment, whatever the flight; ``_night`` and ``_winter`` belong to the place without it.

    Sources: data_type.md of tartanair_tools and its issue 67 (planar depth); tartanair.org (version 2).
    """

    TITLE: ClassVar[str] = "TartanAir"

    def _find(self) -> Iterator[Item]:
        flights = [
            prefix + flight
            for prefix in ("", "*/", "*/*/")
            for flight in (
                "Easy/P*/image_left/*_left.png",
                "Hard/P*/image_left/*_left.png",
                "Data_easy/P*/image_lcam_front/*_lcam_front.png",
                "Data_hard/P*/image_lcam_front/*_lcam_front.png",
            )
        ]
        for rgb in matching(self.path, *flights):
            colour = rgb.parent.name
            extension = ".npy" if colour == "image_left" else ".png"
            depth = rgb.parent.parent / colour.replace("image", "depth") / f"{rgb.stem}_depth{extension}"
            environment = rgb.parents[3].resolve().name
            yield Item(relative(rgb, self.path), (rgb, depth), re.sub(r"_(?:night|winter)$", "", environment))

    def _layout(self) -> str:
        return "no (Easy|Hard)/P000/image_left and no Data_(easy|hard)/P000/image_lcam_front in it or below it."

    def _load(self, item: Item) -> Frame:
        rgb, depth = item.files
        image = read_image(rgb)
        if depth.suffix == ".npy":
            expect_size(rgb, image, (480, 640))
            z = known(read_depth(depth), 0)
        else:
            expect_size(rgb, image, (640, 640))
            z = known(read_packed_depth(depth), 0)
        z[z >= _SKY] = np.inf
        return Frame(image, z, camera(320.0, 320.0, 320.0, image.shape[0] / 2))
