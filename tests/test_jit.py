"""The cache of compiled kernels: never a reason to fail."""

import os
import subprocess
import sys

import pytest

from defocal.synth import jit


class Broken:
    """A cache on a full disk, with damaged files."""

    cache_path = "somewhere"

    def load_overload(self, *arguments):
        raise EOFError("cut short")

    def save_overload(self, *arguments):
        raise OSError(28, "No space left on device")


def test_a_broken_cache_only_means_compiling_again():
    cache = jit._ForgivingCache(Broken())
    assert cache.load_overload("signature", None) is None
    assert cache.save_overload("signature", "code") is None
    assert cache.cache_path == "somewhere"


@pytest.mark.parametrize("wanted", ["0", "/dev/null/nowhere"])
def test_without_a_place_for_the_cache_kernels_compile_all_the_same(wanted):
    code = (
        "import numpy as np; from defocal.synth import jit; from defocal.synth.light import encode; "
        "print(jit._cache_folder(), encode(np.ones(2, np.float32), 'srgb'))"
    )
    environment = {**os.environ, "DEFOCAL_NUMBA_CACHE": wanted}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None [255 255]"


def test_damaged_files_are_compiled_anew(tmp_path):
    code = "import numpy as np; from defocal.synth.light import encode; print(encode(np.ones(2, np.float32), 'srgb'))"
    environment = {**os.environ, "DEFOCAL_NUMBA_CACHE": str(tmp_path)}
    for kept in (0, 40):
        for path in tmp_path.rglob("*.nb?"):
            path.write_bytes(path.read_bytes()[:kept])
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[255 255]"
        assert list(tmp_path.rglob("*.nbi"))
