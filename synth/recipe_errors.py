"""What pydantic finds wrong with a recipe, in words for its author."""

from pydantic import ValidationError


def explain(error: ValidationError, origin: str) -> str:
    """Say all that is wrong with a recipe, a line for each key; `origin` is what the recipe is called."""
    lines = []
    for item in error.errors(include_url=False):
        path = _key(item["loc"])
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


def _key(location: tuple[int | str, ...]) -> str:
    """Dotted key of an error: pydantic also names the kind that it checked a section as."""
    kept: list[str] = []
    parts = iter(location)
    for part in parts:
        kept.append(str(part))
        if kept in (["scenes"], ["psf"], ["psf", "mask"]):
            next(parts, None)
    return ".".join(kept)
