"""Recipes and configs checked by pydantic, and what it finds wrong in words for their author."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from .. import InputError

Checked = TypeVar("Checked", bound=BaseModel)
TAGGED = ("scenes", "psf", "psf.mask")
BRANCH = re.compile(r"(literal|tuple|list|function-[a-z]+|constrained-[a-z]+)\[.*")
"""What pydantic adds to the place of an error in a value that may be of several types."""
PATTERNS = {
    "sha256": "must be the 64 hexadecimal digits (0 to 9, a to f) of a mask's digest",
    "name": "must begin with a letter or digit, and hold only those and . _ -",
}
"""What texts of a pattern are, by their keys."""


def checked(model: type[Checked], data: Mapping[str, Any], origin: str, tagged: Sequence[str] = TAGGED) -> Checked:
    """Check nested mappings as TOML has them.

    Parameters
    ----------
    model
        What they are to become.
    data
        Sections and keys.
    origin, tagged
        As of `explain`.

    Raises
    ------
    InputError
        Naming every error with its key.
    """
    try:
        # Through JSON, whose strict mode takes arrays for tuples: TOML knows no tuples.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError(explain(error, origin, tagged, model)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{origin} holds a value that cannot be used: {str(error)[:200]}.") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a remark in brackets on what was perhaps meant, with a space before it; "" if nothing is like it."""
    found = get_close_matches(word, known, 1)
    return f" (perhaps {found[0]!r} is meant)" if found else ""


def explain(
    error: ValidationError, origin: str, tagged: Sequence[str] = TAGGED, model: type[BaseModel] | None = None
) -> str:
    """Say all that is wrong with a recipe, a line for each key.

    Parameters
    ----------
    error
        What pydantic found.
    origin
        What the recipe is called.
    tagged
        Dotted names of its sections that have kinds.
    model
        What it was checked against; unknown keys are then told beside those that there are.
    """
    lines: list[str] = []
    unions: dict[str, list[tuple[str, str, str]]] = {}
    for item in error.errors(include_url=False):
        path, union = _key(item["loc"], tagged)
        message, given = _message(item, path)
        if model is not None and item["type"] == "extra_forbidden":
            given = _instead(item["loc"], model)
        if union is None:
            lines.append(_line(path, message + given))
        else:
            unions.setdefault(union, []).append((path, message, given))
    for union, found in unions.items():
        # What is wrong within the value says more than that it is of none of the other types.
        deeper = [(path, message, given) for path, message, given in found if path != union]
        if deeper:
            lines += [_line(path, message + given) for path, message, given in deeper]
        else:
            # A type that was met, but for its length or range, is the one that was meant.
            nearly = [message + given for _, message, given in found if not message.startswith("must be ")]
            types = " or ".join(message.removeprefix("must be ") for _, message, _ in found)
            lines.append(_line(union, nearly[0] if nearly else f"must be {types}{found[0][2]}"))
    if len(lines) == 1:
        return f"{origin}: {lines[0]}."
    return f"{origin} has {len(lines)} errors:" + "".join(f"\n  {line}." for line in lines)


def _instead(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Say what key was perhaps meant in the place of an unknown one, or which there are."""
    found = [model]
    for part in location[:-1]:
        inner = [one for outer in found if part in outer.model_fields for one in _models(outer.model_fields[str(part)])]
        found = inner or [one for one in found if "kind" in one.model_fields and part in _words(one)] or found
    known = sorted({name for one in found for name in one.model_fields})
    elsewhere = sorted(_sections_with(str(location[-1]), model, str(location[0])))
    if elsewhere:
        return f" (perhaps {' or '.join(map(repr, elsewhere))} is meant)"
    return nearest(str(location[-1]), known) or f"; there are {', '.join(known)}"


def _sections_with(key: str, model: type[BaseModel], but: str) -> set[str]:
    """Return the dotted names of a key of the sections of `model`, but for one, whose other kinds may have it."""
    return {
        f"{name}.{key}"
        for name, field in model.model_fields.items()
        if name != but
        for section in _models(field)
        if key in section.model_fields
    }


def _words(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _models(field: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that the type of a field names, however deep in unions."""
    annotation = getattr(field, "annotation", field)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _line(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _message(item: Any, path: str) -> tuple[str, str]:
    """Return what is wrong, and what was given, if that is to be told."""
    message = item["msg"].removeprefix("Value error, ").rstrip(".")
    match item["type"]:
        case "extra_forbidden":
            return "unknown key", ""
        case "missing":
            return "is missing", ""
        case "union_tag_not_found":
            return "needs a kind", ""
        case "union_tag_invalid":
            return f"kind must be one of {item['ctx']['expected_tags']}, not {item['ctx']['tag']!r}", ""
        case "too_long" | "too_short":
            return f"has {item['ctx']['actual_length']} values, and needs another number of them", ""
        case "value_error":
            return message, ""
        case "string_pattern_mismatch":
            message = PATTERNS.get(path.rpartition(".")[2], message)
    message = message.replace("Input should be", "must be").replace("an object", "a section")
    message = message.replace("a valid array", "a list of values in brackets")
    return message, f", not {str(item['input'])[:60]!r}"


def _key(location: tuple[int | str, ...], tagged: Sequence[str]) -> tuple[str, str | None]:
    """Return the dotted key of an error, and that of the value of several types that it is in, if it is in one.

    Pydantic also names the kind that it checked a section as, and the type that it checked a value as.
    """
    kept: list[str] = []
    union: str | None = None
    parts = iter(location)
    for part in parts:
        if isinstance(part, str) and kept and BRANCH.fullmatch(part):
            union = ".".join(kept)
            continue
        kept.append(str(part))
        if ".".join(kept) in tagged:
            next(parts, None)
    return ".".join(kept), union
