"""Encoding: the standard's own values, exact rounding, and round trips."""

import numpy as np
import pytest

from defocal import InputError
from defocal.synth.light import decode, encode, linear_to_srgb, srgb_to_linear


def test_srgb_has_the_values_of_the_standard():
    np.testing.assert_allclose(srgb_to_linear([0, 0.04045, 0.5, 1]), [0, 0.0031308, 0.2140411, 1], atol=1e-6)
    np.testing.assert_allclose(linear_to_srgb([0, 0.0031308, 0.18, 1]), [0, 0.04045, 0.4613561, 1], atol=1e-5)


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_code_survives_decoding_and_encoding(encoding, bits):
    codes = np.arange(2**bits, dtype=np.uint8 if bits == 8 else np.uint16)
    again = encode(decode(codes, encoding), encoding, bits)
    assert again.dtype == codes.dtype
    np.testing.assert_array_equal(again, codes)


@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("bits", [8, 16])
def test_encoding_rounds_to_the_nearest_code(encoding, bits):
    rng = np.random.default_rng(0)
    light = (rng.random(20_000) * 1.3 - 0.1).astype(np.float32)
    clipped = np.clip(light, 0, 1)
    exact = (linear_to_srgb(clipped) if encoding == "srgb" else clipped).astype(np.float64) * (2**bits - 1)
    assert np.abs(encode(light, encoding, bits) - exact).max() <= 0.5 + 4e-3


def test_out_of_range_light_is_clipped_only_here():
    np.testing.assert_array_equal(encode(np.array([-1, 0, 1, 7], np.float32), "srgb"), [0, 0, 255, 255])


def test_other_types_are_refused():
    with pytest.raises(InputError, match="uint8 or uint16"):
        decode(np.zeros(3, np.float32), "srgb")
    with pytest.raises(InputError, match="8 or 16 bits"):
        encode(np.zeros(3, np.float32), "srgb", bits=12)
