"""The lock file of a release: the exact versions that made its dataset, as far as they are recorded or installed."""

import importlib.metadata
import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_closure(root: str = "defocal") -> dict[str, str]:
    """Return the installed versions of all that a distribution and its extra `synth` need, by canonical name.

    It is left out itself. Other extras do not count, nor does what is not installed: requirements of other systems.
    """
    found: dict[str, str] = {}
    queue = [root]
    seen = set()
    while queue:
        name = _canonical(queue.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name != _canonical(root):
            found[name] = distribution.version
        for requirement in distribution.requires or ():
            match = _NAME.match(requirement)
            extra = re.search(r";.*\bextra\b\s*==\s*[\"'](\w+)", requirement)
            if match and (extra is None or (name == _canonical(root) and extra[1] == "synth")):
                queue.append(match[0])
    return found


def environment_text(versions: Mapping[str, str], closure: Mapping[str, str] | None = None) -> str:
    """Write the lock file, a constraints file of pip.

    Parameters
    ----------
    versions
        Those that the dataset records, with "defocal" and "python".
    closure
        Installed versions of all that defocal needs; looked up if None.
    """
    closure = installed_closure() if closure is None else closure
    recorded = {_canonical(name): v for name, v in versions.items() if name not in ("defocal", "python")}
    lines = [
        "# What this dataset was made with, for pip:",
        "#     pip install --constraint environment.txt 'defocal[synth]'",
        f"# defocal {versions.get('defocal', 'unknown')}, Python {versions.get('python', 'unknown')}",
        "# Recorded in the dataset while it was made:",
        *(f"{name}=={recorded[name]}" for name in sorted(recorded)),
        "# Installed where it was released:",
        *(f"{name}=={closure[name]}" for name in sorted(closure) if name not in recorded),
    ]
    others = [name for name in sorted(recorded) if closure.get(name, recorded[name]) != recorded[name]]
    lines += [f"# {name} {closure[name]} was installed there, not {recorded[name]}." for name in others]
    return "\n".join(lines) + "\n"
