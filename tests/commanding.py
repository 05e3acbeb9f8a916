"""Commands within the process of the tests: what they print, and the one sentence of a refusal."""

from click.testing import CliRunner

from defocal.pipelines.cli import cli


def defocal(*arguments):
    """Give a command."""
    return CliRunner().invoke(cli, list(map(str, arguments)))


def refused(*arguments):
    """Give a command that must be refused; return its one sentence."""
    done = defocal(*arguments)
    assert done.exit_code == 2, done.output
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    assert message.endswith(".")
    return message
