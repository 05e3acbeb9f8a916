"""Whether the captures of a store were made through the mask that a run has learned."""

import numpy as np

from .. import InputError
from ..synth.banks import stored_bank
from ..synth.places import place
from ..synth.psf import PsfBank
from ..synth.psf_sampled import SampledBank
from ..synth.recipe_psf import MaskPsf
from ..synth.store import Store
from ..train.prediction import Predictor

TOLERANCE = 0.02
"""Share of a kernel's light that may lie elsewhere: another sampling of the pupil moves less."""


def check_captures(predictor: Predictor, store: Store, name: str) -> None:
    """Refuse captures through another mask than the one that a run has learned: depth from them would be wrong.

    The kernels that the store holds are compared with those of the run's mask on the same planes.

    Raises
    ------
    InputError
        If they are others, or the store's are of no mask.
    """
    psf, optics = store.recipe.psf, predictor.optics
    assert optics is not None
    how = f"leave out --captures stored, or generate a store with {name}'s mask.json"
    if not isinstance(psf, MaskPsf):
        raise InputError(f"the captures of {store.path} were made with psf.kind = {psf.kind!r} and no mask: {how}.")
    bank = stored_bank(place(store.path), store.recipe)
    assert isinstance(bank, SampledBank)
    stored = bank.kernels
    wanted = PsfBank.from_mask(
        optics.mask.finished(), bank.lens, optics.settings.wavelengths, planes=len(stored),
        defocus=(bank.coc * bank.lens.defocus_per_coc(optics.mask.finished().wavelength)).tolist(),
        size=stored.shape[-1], samples=psf.samples,
    ).kernels  # fmt: skip
    colours = max(stored.shape[1], wanted.shape[1])
    ours, theirs = (np.broadcast_to(one, (len(one), colours, *one.shape[2:])) for one in (wanted, stored))
    moved = float(np.abs(ours - theirs).sum(axis=(2, 3)).max()) / 2
    if moved > TOLERANCE:
        raise InputError(
            f"the captures of {store.path} were made through another mask than {name}'s (their PSFs differ in "
            f"{moved:.0%} of the light): {how}."
        )
