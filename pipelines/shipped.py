"""Finding recipes: shipped ones by name, others by path, with the changes that the command line asks for."""

import os
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import InputError
from ..synth.recipe import Recipe, read_toml
from ..synth.recipe_errors import nearest

_HOME = files(f"{__package__}.recipes")


PATHS = ("path", "picture", "listing", "textures")
"""Keys whose values are paths of files."""


def shipped() -> list[str]:
    """Names of the recipes that come with defocal."""
    return sorted(item.name.removesuffix(".toml") for item in _HOME.iterdir() if item.name.endswith(".toml"))


def shipped_text(name: str) -> str:
    """TOML text of a shipped recipe.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in shipped():
        known = ", ".join(shipped())
        if Path(name).is_dir():
            raise InputError(f"{name} is a folder, and no recipe: name a .toml file, or one of {known}.")
        meant = nearest(name[:100], shipped())
        raise InputError(f"there is no recipe or folder {name[:100]!r}{meant}: name a .toml file, or one of {known}.")
    return (_HOME / f"{name}.toml").read_text(encoding="utf-8")


def find_recipe(
    name: str, *, scenes: str | None = None, limit: int | None = None, seed: int | None = None,
    changes: Sequence[str] = (), mask: str | Path | None = None,
) -> Recipe:  # fmt: skip
    """Load a recipe and apply changes to it.

    Parameters
    ----------
    name
        Path of a TOML file, or name of a shipped recipe.
    scenes
        "KIND:PATH": take the scenes from there instead; the depth range stays.
    limit
        At most this many samples.
    seed
        Instead of the recipe's.
    changes
        "section.key=value" each, the value in TOML; a bare word is a string.
    mask
        A file: its mask stands in the pupil, in place of the recipe's.

    Raises
    ------
    InputError
        If there is no such recipe, or it is not valid with the changes.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        data, base = read_toml(path), path.absolute().parent
    else:
        data, base = tomllib.loads(shipped_text(name)), Path.cwd()
    if scenes is not None:
        data["scenes"] = _scenes(scenes, data.get("scenes"))
    if seed is not None:
        data["seed"] = seed
    if mask is not None:
        _put_mask(data, name, os.path.abspath(mask))
    for change in changes:
        _apply(data, change)
    if mask is not None:
        _check_pupil(data, name, "leave out either --mask or the --set that makes it so")
    section = data.get("scenes")
    if isinstance(section, dict):
        count = section.get("count", limit)
        if limit is not None and type(count) is int:
            section["count"] = min(limit, count)
    _resolve_paths(data, base)
    _look_into_mask(data)
    return Recipe.parse(data, origin=f"recipe {name}")


def _resolve_paths(data: dict[str, Any], base: Path) -> None:
    """Make the paths of files in a recipe absolute; they are relative to the recipe file."""
    psf = data.get("psf")
    for section in (data.get("scenes"), psf, psf.get("mask") if isinstance(psf, dict) else None):
        if isinstance(section, dict):
            for key in PATHS:
                if isinstance(section.get(key), str) and "\0" not in section[key]:
                    section[key] = os.path.abspath(base / section[key])


def _put_mask(data: dict[str, Any], name: str, path: str) -> None:
    """Put the mask of a file into a recipe's pupil; one that was made with a certain mask takes no other."""
    psf = _check_pupil(data, name)
    old = psf.get("mask")
    kept = {key: old[key] for key in ("sha256", "any_camera") if key in old} if isinstance(old, dict) else {}
    psf["mask"] = {"kind": "file", "path": path, **kept}


def _check_pupil(
    data: dict[str, Any], name: str, advice: str = "choose another one, for example rpsf-learned"
) -> dict[str, Any]:
    """Return the section of the PSFs, if they are of a mask."""
    psf = data.get("psf")
    kind = psf.get("kind") if isinstance(psf, dict) else "disk" if psf is None else psf
    if not isinstance(psf, dict) or kind != "mask":
        raise InputError(
            f'--mask puts a mask into the pupil of a recipe with psf.kind = "mask", and recipe {name} has {kind!r}: '
            f"{advice}."
        )
    return psf


def refuse_mask(target: str, mask: Path | None) -> None:
    """Refuse to put a mask into a dataset.

    Raises
    ------
    InputError
        If there is one.
    """
    if mask is not None:
        raise InputError(f"{target} is a dataset, whose PSFs are made already: leave --mask out, it is for recipes.")


def _look_into_mask(data: dict[str, Any]) -> None:
    """Say in a recipe what the file of its mask holds: the dataset shall depend on that, and not on its place."""
    psf = data.get("psf")
    mask = psf.get("mask") if isinstance(psf, dict) else None
    if not isinstance(psf, dict) or not isinstance(mask, dict):
        return
    if mask.get("kind") == "file" and isinstance(mask.get("path"), str):
        from ..synth.banks import file_section

        data["psf"] = {**psf, "mask": {**file_section(mask["path"]), **mask}}


def split_kind(text: str) -> tuple[str, Path]:
    """Return the kind and the absolute path of KIND:PATH.

    Raises
    ------
    InputError
        If it is not such a thing.
    """
    kind, colon, path = text.partition(":")
    if not colon or not path:
        raise InputError(f"scenes are given as KIND:PATH, for example folder:my-rgbd, not {text!r}.")
    return kind, Path(path).absolute()


def _scenes(text: str, old: Any) -> dict[str, Any]:
    kind, path = split_kind(text)
    kept = {key: old[key] for key in ("depth",) if isinstance(old, dict) and key in old}
    return {"kind": kind, "path": str(path), **kept}


def read_change(change: str) -> tuple[list[str], Any]:
    """Return the keys and the value of `key.key=value`: in TOML, or a bare word; paths are made absolute.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set takes section.key=value, for example camera.f_number=4, not {change!r}.")
    try:
        read = tomllib.loads(f"value = {text}")
        value = read["value"] if len(read) == 1 else text
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except (ValueError, RecursionError) as error:
        raise InputError(f"--set {change[:60]}: the value cannot be read: {str(error)[:100]}.") from None
    if keys[-1] in PATHS and isinstance(value, str) and "\0" not in value:
        # Typed in a shell, a path is relative to the shell's folder, and not to the recipe's.
        value = str(Path(value).absolute())
    return keys, value


def _apply(data: dict[str, Any], change: str) -> None:
    keys, value = read_change(change)
    if len(keys) > 3:
        raise InputError(
            f"--set {change[:60]}: recipes have no keys so deep; write it as in camera.f_number=4 or psf.mask.lobes=2."
        )
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {change}: {key!r} is not a section of the recipe.")
    data[keys[-1]] = value
