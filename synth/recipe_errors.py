"""What pydantic finds wrong with a recipe or a config, in words for its author."""

from collections.abc import Sequence

from pydantic import ValidationError

TAGGED = ("scenes", "psf", "psf.mask")


def explain(error: ValidationError, origin: str, tagged: Sequence[str] = TAGGED) -> str:
    """Say all that is wrong with a recipe, a line for each key.

    Parameters
    ----------
    error
        What pydantic found.
    origin
        What the recipe is called.
    tagged
        Dotted names of its sections that have kinds.
    """
    lines = []
    for item in error.errors(include_url=False):
        path = _key(item["loc"], tagged)
        message = item["msg"].removeprefix("Value error, ").rstrip(".")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        elif item["type"] == "missing":
            message = "is missing"
        elif item["type"] == "union_tag_not_found":
            message = "needs a kind"
        elif item["type"] == "union_tag_invalid":
            message = f"kind must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}"
        elif item["type"] in ("too_long", "too_short"):
            message = f"has {item['ctx']['actual_length']} values, and needs another number of them"
        elif item["type"] != "value_error":
            message = message.replace("Input should be", "must be").replace("an object", "a section")
            message += f", not {str(item['input'])[:60]!r}"
        lines.append(f"{path}: {message}" if path else message)
    if len(lines) == 1:
        return f"{origin}: {lines[0]}."
    return f"{origin} has {len(lines)} errors:" + "".join(f"\n  {line}." for line in lines)


def _key(location: tuple[int | str, ...], tagged: Sequence[str]) -> str:
    """Dotted key of an error: pydantic also names the kind that it checked a section as."""
    kept: list[str] = []
    parts = iter(location)
    for part in parts:
        kept.append(str(part))
        if ".".join(kept) in tagged:
            next(parts, None)
    return ".".join(kept)
