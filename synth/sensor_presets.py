"""Parameters of sensors by name; `docs/sensor.md` says where each number comes from, and which are typical or ours."""

from typing import Any, Final

PRESETS: Final[dict[str, dict[str, Any]]] = {
    # No noise and no mosaic; what is left is the rounding of 16 bits.
    "ideal": {"bits": 16, "full_well": 65535.0, "shot_noise": "none", "cfa": "none"},
    # RPSF paper, section 4.2: normal shot noise, fixed Gaussian read noise, RGGB, 8 bits, Malvar-He-Cutler. It gives no
    # full well, and its sigma is lost: 15,000 e- is ours, and 1 % of full scale is that of its ancestor PhaseCam3D.
    "rpsf": {"bits": 8, "full_well": 15000.0, "shot_noise": "normal", "read_noise": 150.0},
    # Nikon D800E, 36 million pixels of 4.9 um, ISO 100.
    "dslr": {
        "bits": 14,
        "full_well": 54500.0,
        "white_level": 15735,
        "read_noise": 4.2,
        "prnu": 0.002,
        "response": (0.442, 1.0, 0.846),
    },
    # Sony IMX477, pixels of 1.55 um.
    "phone": {
        "bits": 12,
        "full_well": 8180.0,
        "black_level": 256,
        "read_noise": 1.52,
        "adc_noise": 1.32,
        "prnu": 0.007,
        "response": (0.311, 1.0, 0.669),
    },
}


class Levels:
    """What follows from a sensor's numbers, for all who simulate one: `synth.Sensor` says what each means."""

    __slots__ = ()
    bits: Any
    full_well: Any
    gain: Any
    black_level: Any
    white_level: Any
    response: Any
    white_balance: Any

    @property
    def largest(self) -> int:
        """Largest number of the converter, DN."""
        return int(2**self.bits - 1)

    @property
    def white(self) -> int:
        """DN where saturation is declared."""
        return int(self.largest if self.white_level is None else self.white_level)

    @property
    def span(self) -> float:
        """DN from black to white level."""
        return float(self.white - self.black_level)

    @property
    def system_gain(self) -> float:
        """EMVA 1288's K, DN/e-."""
        return float(self.gain * self.span / self.full_well)

    @property
    def balance(self) -> tuple[float, float, float]:
        """What development multiplies R, G and B by."""
        if self.white_balance is not None:
            given: tuple[float, float, float] = self.white_balance
            return given
        r, g, b = (1.0 / share for share in self.response)
        return r, g, b
