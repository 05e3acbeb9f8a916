"""What tests of releases share."""

from defocal.pipelines.release import Options
from defocal.pipelines.release_manifest import files_of

OPTIONS = Options(
    title="Tiny captures", authors=("Ada Lovelace <ada@example.org>", "Institute <https://example.org/i>"),
    licence="CC-BY-4.0", version="2.1.0", date="2026-11-30", url="https://example.org/tiny",
)  # fmt: skip


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files_of(folder)[0]}
