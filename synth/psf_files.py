"""PSF banks in files: everything that a bank is, as attributes and arrays, in a dataset or in one .npz file."""

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .. import InputError
from .buckets import pass_on
from .camera import ThinLens
from .files import write_atomically
from .places import Place, as_zarr, folders_of, local_place
from .psf_field import FieldBank, StoredBank, centred
from .psf_sampled import SampledBank

Array = npt.NDArray[Any]
BankArrays = dict[str, tuple[Array, tuple[str, ...], str]]

FILE_VERSION = 1
"""Of the .npz files written here; a file of a later one is refused."""
GROUP = "psf/main"
"""Where a split of a dataset holds its bank."""
_ATTRIBUTES = "bank"
_LENS = ("focal_length", "f_number", "focus_distance", "pixel_pitch")
_FIELD = ("field_y", "field_x")


def bank_attributes(bank: StoredBank) -> dict[str, Any]:
    """Return what a bank is besides its arrays, as JSON data: kind, lens (metres), wavelengths, reference and facts.

    An infinite focus distance is the text "inf", which JSON has no number for.
    """
    planes = bank.banks[0] if isinstance(bank, FieldBank) else bank
    attributes = {
        "kind": bank.kind,
        "lens": {name: getattr(bank.lens, name) for name in _LENS},
        "wavelengths": list(planes.wavelengths) if planes.wavelengths else None,
        "reference": planes.reference,
        "facts": bank.facts,
    }
    return cast(dict[str, Any], _plain(attributes))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def bank_arrays(bank: StoredBank) -> BankArrays:
    """Return the arrays of a bank, each with the names of its axes and its unit.

    Returns
    -------
    `kernel` (plane, channel, y, x) float32, `coc` (plane,) float64 pixels, `depth` (plane,) float64 metres; `defocus`
    (plane,) float64 radians and `energy` (plane, channel) float64 where the bank has them. Where kernels vary over the
    picture, those of `kernel` and `energy` have two more axes in front, the rows and columns of nodes, and there are
    `field_y` (field_y,) and `field_x` (field_x,) float64, the positions of these in half-diagonals.
    """
    if isinstance(bank, FieldBank):
        return _field_arrays(bank)
    arrays: BankArrays = {
        "kernel": (bank.kernels, ("plane", "channel", "y", "x"), ""),
        "coc": (bank.coc, ("plane",), "px"),
        "depth": (bank.depth, ("plane",), "m"),
    }
    if bank.reference is not None:
        arrays["defocus"] = (bank.defocus, ("plane",), "rad")
    if bank.energy is not None:
        arrays["energy"] = (np.asarray(bank.energy, np.float64), ("plane", "channel"), "")
    return arrays


def _field_arrays(bank: FieldBank[SampledBank]) -> BankArrays:
    arrays = bank_arrays(bank.banks[0])
    height, width = np.max([node.size for node in bank.banks], axis=0)
    at_nodes = {"kernel": [centred(node.kernels, (height, width)) for node in bank.banks]}
    if "energy" in arrays:
        at_nodes["energy"] = [np.asarray(node.energy, np.float64) for node in bank.banks]
    for name, each in at_nodes.items():
        stack = np.stack(each).reshape(len(bank.field_y), len(bank.field_x), *each[0].shape)
        _, axes, unit = arrays[name]
        arrays[name] = stack, (*_FIELD, *axes), unit
    for name in _FIELD:
        arrays[name] = (getattr(bank, name), (name,), "half-diagonals")
    return arrays


def bank_digest(bank: StoredBank) -> str:
    """Digest of a bank: sha256 over its attributes and arrays, hexadecimal."""
    digest = hashlib.sha256(json.dumps(bank_attributes(bank), sort_keys=True).encode())
    for name, (array, _, _) in bank_arrays(bank).items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def bank_from(attributes: dict[str, Any], arrays: dict[str, Array], where: str) -> StoredBank:
    """Make a bank again from what `bank_attributes` and `bank_arrays` returned.

    `depth` and `defocus` are not needed: they follow from `coc` and the lens.

    Parameters
    ----------
    attributes, arrays
        As returned there; more entries are ignored.
    where
        The file or group, for error messages.

    Raises
    ------
    InputError
        If something is missing or does not fit together.
    """
    try:
        if not any(name in arrays for name in _FIELD):
            return _planes_from(attributes, arrays)
        return _field_from(attributes, arrays)
    except KeyError as error:
        raise InputError(f"{where} holds no whole PSF bank ({error} is missing): make or fetch it again.") from None
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{where} holds no usable PSF bank ({reason}): make or fetch it again.") from None


def _planes_from(attributes: dict[str, Any], arrays: dict[str, Array]) -> SampledBank:
    lens = ThinLens(**{name: float(attributes["lens"][name]) for name in _LENS})
    kernels, energy = np.asarray(arrays["kernel"]), arrays.get("energy")
    if energy is not None and np.shape(energy) != kernels.shape[:2]:
        raise ValueError(f"its energy has shape {np.shape(energy)}")
    reference = attributes.get("reference")
    return SampledBank(
        str(attributes["kind"]),
        lens,
        kernels,
        arrays["coc"],
        wavelengths=attributes.get("wavelengths"),
        reference=None if reference is None else float(reference),
        energy=None if energy is None else np.asarray(energy, np.float64),
        facts=dict(attributes.get("facts") or {}),
    )


def _field_from(attributes: dict[str, Any], arrays: dict[str, Array]) -> FieldBank[SampledBank]:
    field_y, field_x = (np.asarray(arrays[name], np.float64) for name in _FIELD)
    at_nodes = {name: np.asarray(arrays[name]) for name in ("kernel", "energy") if name in arrays}
    for name, array in at_nodes.items():
        if array.shape[:2] != (field_y.size, field_x.size):
            raise ValueError(f"its {name} has shape {array.shape} for {field_y.size} x {field_x.size} field positions")
    banks = tuple(
        _planes_from(attributes, {**arrays, **{name: array[node] for name, array in at_nodes.items()}})
        for node in np.ndindex(field_y.size, field_x.size)
    )
    facts = dict(attributes.get("facts") or {})
    return FieldBank(str(attributes["kind"]), banks, field_y, field_x, facts)


def save_bank(bank: StoredBank, path: Path) -> None:
    """Write a bank to a .npz file, which is whole or absent; the same bank gives the same bytes.

    Parameters
    ----------
    bank
        The bank.
    path
        Ends in .npz; a file of that name is replaced.

    Raises
    ------
    InputError
        If the name does not end in .npz, or the file cannot be written.
    """
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path} does not end in .npz: name the file of a PSF bank so.")
    text = json.dumps({"version": FILE_VERSION, **bank_attributes(bank)}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    content: dict[str, Any] = {name: array for name, (array, _, _) in bank_arrays(bank).items()}
    content[_ATTRIBUTES] = np.array(text)
    np.savez_compressed(buffer, **content)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): check the folder.") from None


def load_bank(path: Place) -> StoredBank:
    """Read a bank from a file written by `save_bank`, or from a dataset.

    Parameters
    ----------
    path
        A .npz file, a split's `.zarr` folder, or a dataset's folder, of which the first split by name is taken.

    Raises
    ------
    InputError
        If there is no bank, or it is damaged.
    """
    if path.is_dir():
        return _load_from_dataset(path)
    arrays = read_npz(local_place(path, "a file of kernels"), "the PSF bank")
    if _ATTRIBUTES not in arrays:
        raise InputError(
            f"{path} was not written by the save of a PSF bank (it has no {_ATTRIBUTES!r}): read measured PSFs with "
            "PsfBank.measured."
        )
    try:
        attributes = json.loads(str(arrays.pop(_ATTRIBUTES)[()]))
        version = int(attributes["version"])
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        raise InputError(
            f"{path} is damaged (its {_ATTRIBUTES!r} is not JSON): fetch or save the bank again."
        ) from None
    if version > FILE_VERSION:
        raise InputError(
            f"{path} has format version {version}, this defocal reads up to {FILE_VERSION}: update defocal."
        )
    return bank_from(attributes, arrays, str(path))


def _load_from_dataset(path: Place) -> StoredBank:
    splits = [path] if path.suffix == ".zarr" else folders_of(path, "*.zarr")
    if not splits:
        raise InputError(f"{path} holds no .zarr folder: give a dataset, a split of one, or a .npz file.")
    import zarr

    where = f"{splits[0]}/{GROUP}"
    try:
        root = zarr.open_group(as_zarr(splits[0]), mode="r")
    except Exception as error:  # zarr raises many kinds of error for damaged metadata
        pass_on(error, path)
        raise InputError(f"{splits[0]} is not a split of a dataset ({type(error).__name__}): check the path.") from None
    try:
        found = GROUP in root
        group = root[GROUP] if found else None
        attributes = dict(group.attrs) if isinstance(group, zarr.Group) else {}
        names = ("kernel", "coc", "energy", *_FIELD)
        arrays = {n: np.asarray(cast(Any, group)[n][...]) for n in names if group is not None and n in cast(Any, group)}
    except Exception as error:  # likewise
        pass_on(error, path)
        raise InputError(f"{where} is damaged ({type(error).__name__}: {str(error)[:200]}): fetch it again.") from None
    if not found:
        raise InputError(f"{splits[0]} stores no PSF bank ({GROUP}): generate the dataset with one.")
    return bank_from(attributes, arrays, where)


def read_npz(path: Path, what: str) -> dict[str, Array]:
    """Read all arrays of a .npz file; Python objects in it are never loaded.

    Parameters
    ----------
    path
        The file.
    what
        What it should hold, for error messages: "the PSF bank".

    Raises
    ------
    InputError
        If it cannot be read, is damaged, or is no .npz file.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the .npz file of {what}.")
    try:
        archive = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or 'damaged'}): check {what}.") from None
    except Exception:  # numpy, zipfile and zlib raise a dozen types for foreign and damaged files
        raise InputError(f"{path} is damaged or not a .npz file: save {what} again.") from None
    if isinstance(archive, np.ndarray):
        raise InputError(f"{path} is a single array, not a .npz file: save {what} with numpy.savez and named arrays.")
    with archive:
        try:
            return {name: np.asarray(archive[name]) for name in archive.files}
        except Exception as error:  # members are decompressed only here
            reason = "it holds Python objects" if "Object arrays" in str(error) else "damaged"
            raise InputError(f"{path} cannot be read ({reason}): save {what} again as arrays of numbers.") from None
