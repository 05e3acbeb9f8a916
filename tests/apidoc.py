"""The Python reference, written from the sources of public names: signatures as they stand there, and docstrings."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEYOND = {
    "synth": {
        "banks": ["make_bank"],
        "light": ["decode", "encode"],
        "readers.files": ["read_depth", "read_image"],
        "samples": ["SampleMaker"],
        "schedules": ["spaced"],
        "store": ["Store"],
    },
    "train": {
        "batches": ["prepare"],
        "loader": ["make_loader"],
        "order": ["ShardShuffle"],
        "settings": ["DataSettings"],
        "optics.bank": ["DifferentiableBank"],
        "optics.masks": ["build_mask"],
    },
    "evaluate": {
        "fusion": ["fuse_by_depth", "fuse_by_pyramid"],
        "stack_depth": ["Aggregation", "StackDepth", "depth_from_stack"],
    },
    "pipelines": {
        "generate": ["create", "run"],
        "making": ["Making", "find_subject"],
        "preview": ["write_preview"],
        "shipped": ["find_recipe"],
        "verify": ["verify"],
        "workshop": ["export"],
    },
}
"""What the pages and the examples use beside the names that a package has on its front."""
ABOUT = {
    "synth": "Cameras, PSFs, scenes, rendering, recipes and stores.",
    "train": "Reading stores for training, training, and prediction; needs torch.",
    "evaluate": "Metrics and classical methods, on arrays.",
    "pipelines": "What the commands do, for programs.",
}
HEAD = """# Python

Written from the docstrings by `make docs`. Below each name stands where it is imported from; names that are not here
may change. Lengths are metres, arrays `[y, x]`, blur in pixels: [units and signs](units.md).
"""


def front(room: str) -> dict[str, str]:
    """Return where the names on a package's front are at home: name to module, from its imports for type checkers."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            found |= {alias.name: node.module for alias in node.names}
    return found


def source(room: str, module: str, name: str) -> tuple[ast.stmt, str]:
    """Find the statement that makes a name, following imports; and what a string behind it says, of a constant."""
    place = ROOT / room / Path(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for i, node in enumerate(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, inspect.cleandoc(ast.get_docstring(node) or "")
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            after = body[i + 1] if i + 1 < len(body) else None
            said = after.value if isinstance(after, ast.Expr) else None
            return node, str(said.value) if isinstance(said, ast.Constant) else ""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and name in (alias.name for alias in node.names):
            package = module if place.is_dir() else module.rpartition(".")[0]
            return source(room, ".".join(filter(None, (package, node.module))), name)
    raise LookupError(f"{room}.{module} has no {name}")


def fields(node: ast.ClassDef) -> list[str]:
    """Return the fields of a class that says them in its body."""
    found = []
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or ast.unparse(item.annotation).startswith("ClassVar"):
            continue
        name = ast.unparse(item.target)
        if not name.startswith("_"):
            default = f" = {ast.unparse(item.value)}" if item.value else ""
            found.append(f"{name}: {ast.unparse(item.annotation)}{default}")
    return found


def signature(node: ast.FunctionDef, *, method: bool = False) -> str:
    """Write arguments and result as they stand in the source; `self` and `cls` are left out."""
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    if method and not static and node.args.args:
        node.args.args = node.args.args[1:]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){result}"


def members(node: ast.ClassDef) -> Iterator[str]:
    """Yield a line for each public method and property: how it is called, and its first sentence."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            marks = {ast.unparse(mark).split(".")[-1] for mark in item.decorator_list}
            if marks & {"setter", "field_validator", "model_validator"}:
                continue
            called = item.name if marks & {"property", "cached_property"} else signature(item, method=True)
            said = (ast.get_docstring(item) or "").split("\n\n")[0].replace("\n", " ")
            yield f"- `{called}`: {said}"


def entry(room: str, module: str, name: str) -> str:
    """Write what is known of a name."""
    node, said = source(room, module, name)
    place = f"defocal.{room}" if name in front(room) else f"defocal.{room}.{module}"
    lines = [f"### {name}\n", f"`from {place} import {name}`\n"]
    if isinstance(node, ast.FunctionDef):
        lines.append(f"```text\n{signature(node)}\n\n{said}\n```\n")
    elif isinstance(node, ast.ClassDef):
        made = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        told = ", ".join(fields(node))
        if made:
            told = signature(made[0], method=True).removeprefix("__init__(").rpartition(")")[0]
        lines.append(f"```text\n{name}({told})\n\n{said}\n```\n")
        if listed := "\n".join(members(node)):
            lines.append(f"{listed}\n")
    else:
        lines.append(f"{said or 'A constant.'}\n")
    return "\n".join(lines)


def api() -> str:
    """Write the whole page."""
    parts = [HEAD]
    for room, about in ABOUT.items():
        parts.append(f"## defocal.{room}\n\n{about}\n")
        names = sorted(front(room).items(), key=lambda item: item[0].lower()) if room != "pipelines" else []
        parts += [entry(room, module, name) for name, module in names]
        parts += [entry(room, module, name) for module, listed in BEYOND[room].items() for name in listed]
    return "\n".join(parts)
