"""Optics that are learned with a network: masks, their kernels, and rendering that is differentiable to both."""
