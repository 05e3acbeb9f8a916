"""Optics that are learned with a network: masks, their PSFs, and captures that gradients pass through."""
