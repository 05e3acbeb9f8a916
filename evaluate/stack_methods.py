"""The classical methods of depth from focus by name, apart from what computes them, which takes long to load."""

from typing import Literal

Method = Literal["sml", "rdf", "variance", "windowed-ls"]
METHODS: dict[Method, str] = {
    "sml": "sum-modified Laplacian",
    "rdf": "ring difference filter",
    "variance": "variance of the Laplacian",
    "windowed-ls": "windowed least squares",
}
"""By the names that `depth_from_stack` takes, in words."""
