"""defocal: physically faithful, verified datasets of defocused captures, and a lean trainer for them."""

__version__ = "0.1.0"


class InputError(ValueError):
    """What the user gave cannot be used: one sentence says what, where, and what to do next.

    The command line prints the sentence and exits with status 2.
    """
