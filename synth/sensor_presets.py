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
