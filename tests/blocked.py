"""Put first by a test's process: what `pip install defocal[train]` does not bring cannot be imported."""

import sys
from importlib.machinery import PathFinder

ABSENT = {"numba", "llvmlite", "dask", "distributed", "cv2", "scipy", "h5py", "PIL", "OpenEXR"}


class Absent(PathFinder):
    """Finds no module of these packages."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return


sys.meta_path.insert(0, Absent)
