"""What each number of an evaluation is called, its unit, and whether more of it is better."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How one number is shown.

    Parameters
    ----------
    title
        Short name, as tables of the field write it.
    higher
        Whether a higher value is better.
    unit
        Unit as it is printed, "" for a pure number.
    digits
        Decimals shown.
    """

    title: str
    higher: bool = False
    unit: str = ""
    digits: int = 3

    @property
    def arrow(self) -> str:
        """The direction of better values, up or down."""
        return "\u2191" if self.higher else "\u2193"


MEASURES: dict[str, Measure] = {
    "rmse": Measure(title="RMSE", unit="m"),
    "mae": Measure(title="MAE", unit="m"),
    "mse": Measure(title="MSE", unit="m\u00b2"),
    "rmse_log": Measure(title="RMSE log"),
    "log10": Measure(title="log10"),
    "silog": Measure(title="SILog", digits=2),
    "abs_rel": Measure(title="Abs Rel"),
    "sq_rel": Measure(title="Sq Rel", unit="m"),
    "delta1": Measure(title="\u03b4 < 1.25", higher=True),
    "delta2": Measure(title="\u03b4 < 1.25\u00b2", higher=True),
    "delta3": Measure(title="\u03b4 < 1.25\u00b3", higher=True),
    "bad_pixels": Measure(title="BadPix"),
    "bumpiness": Measure(title="Bumpiness"),
    "psnr": Measure(title="PSNR", unit="dB", higher=True, digits=2),
    "ssim": Measure(title="SSIM", higher=True, digits=4),
    "ause": Measure(title="AUSE"),
    "aurg": Measure(title="AURG", higher=True),
    "rmse_defocus": Measure(title="RMSE of defocus", unit="rad"),
}
"""Every number that the metrics of this package give, in the order of tables; formulas are in docs/metrics.md."""

DEPTH = tuple(MEASURES)[:13]
"""Names of the depth metrics."""


def measure(name: str) -> Measure:
    """Return how a number is shown; a number that is not ours is shown by its own name, lower being better."""
    return MEASURES.get(name, Measure(title=name))
