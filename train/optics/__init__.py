"""Differentiable optics: learned masks, their PSFs, a renderer and a sensor, on torch tensors with gradients."""
