"""Lengths for which Fourier transforms are fast."""


def fast_size(least: int, multiple: int = 1) -> int:
    """Return the smallest length from `least` on, a multiple of `multiple`, that has no prime factor beyond 5."""
    size = max(-(-least // multiple), 1) * multiple
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += multiple
