"""The tutorial, the how-to pages and the README do what they say; commands on all pages exist with their options."""

import re

import pytest
from test_docs import PAGES, ROOT
from walkthroughs import FOLLOWED, blocks, commands, follow, made_smaller, parse


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_does_what_it_says(page, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    assert follow(ROOT / page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page):
    for kind, code, _ in blocks(page.read_text()):
        if kind == "shell":
            for words in commands(code):
                # What an ellipsis or a bracket stands for is the reader's.
                if "..." not in words:
                    parse(words[1:])


def test_pages_that_are_followed_leave_no_command_out():
    """All their blocks are indented, or of a kind that runs; what installs or builds is the only other thing."""
    for page in FOLLOWED:
        text = (ROOT / page).read_text()
        for kind, code, _ in blocks(text):
            assert kind in ("python", "toml", "shell", "text"), f"{page}: {kind}"
            if kind == "shell":
                others = re.sub(r"\\\n\s*", " ", code).splitlines()
                first = {line.split()[0] for line in others}
                assert first <= {"defocal", "pip", "make", "#"}, f"{page}: {first}"


def test_what_is_written_is_what_runs(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Save as `r.toml`:\n\n```toml\na = 1\n```\n\n```python\nb = 2\n```\n\n"
        "    defocal plan r.toml --limit 3   # a comment\n"
        "    defocal init \\\n        quickstart -o q.toml\n    make demo\n"
    )
    found = list(blocks(page.read_text()))
    assert [kind for kind, *_ in found] == ["toml", "python", "shell"]
    assert commands(found[2][1]) == [
        ["defocal", "plan", "r.toml", "--limit", "3"], ["defocal", "init", "quickstart", "-o", "q.toml"]
    ]  # fmt: skip
    assert made_smaller(["defocal", "generate", "r.toml", "o"], {"r.toml"})[-2:] == ["--workers", "0"]
    assert "scenes.size=[64, 96]" in made_smaller(["defocal", "generate", "quickstart", "o"])
    with pytest.raises(Exception, match="--nonsense"):
        parse(["plan", "quickstart", "--nonsense"])
