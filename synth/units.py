"""Numbers with units, as recipes write them: "35 mm", "5.6 um", "96 MB"."""

import re
from typing import Any

_METRES = {"km": 1e3, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9}
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_PATTERN = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]+)\s*")


def _parse(value: Any, factors: dict[str, float], example: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    match = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in factors:
        known = ", ".join(factors)
        raise ValueError(
            f"{str(value)[:40]!r} is not a number with one of the units {known}; write for example {example!r}"
        )
    # Dividing by a power of ten keeps "5.6 um" equal to 5.6e-6, which multiplying by 1e-6 would miss by one bit.
    factor, number = factors[match[2]], float(match[1])
    return number * factor if factor >= 1 else number / round(1 / factor)


def parse_length(value: Any) -> float:
    """Return metres: a plain number is metres already, a string carries its unit.

    Raises
    ------
    ValueError
        If the value is neither.
    """
    return _parse(value, _METRES, "35 mm")


def parse_bytes(value: Any) -> float:
    """Return bytes: a plain number is bytes already, a string carries its unit (kB = 1000, KiB = 1024).

    Raises
    ------
    ValueError
        If the value is neither.
    """
    return _parse(value, _BYTES, "96 MB")
