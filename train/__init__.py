"""Training on stores: reads what `defocal.synth` wrote; imports no numba, dask or OpenCV."""
