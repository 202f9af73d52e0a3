"""The README says what is there: its Python runs, its commands and files exist."""

import re
from pathlib import Path

import pytest
import typer

from facexai.cli import app

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf8"), re.S)


def test_the_python_runs(capsys: pytest.CaptureFixture[str]):
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    assert re.fullmatch(r"score -?\d\.\d\d; maps \(2, 112, 112\), probe first\n", capsys.readouterr().out)


def test_the_commands_exist_with_these_options():
    command = typer.main.get_command(app)
    lines = [
        line.split("#")[0].split()[1:] for block in blocks("sh") for line in block.splitlines() if "facexai" in line
    ]
    assert len(lines) == 12
    for words in lines:
        found, path = command, []
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words[0]]
            path.append(words.pop(0))
        assert path, words
        known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known, path


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page: str):
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text(encoding="utf8"))
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_every_notebook_has_its_line():
    page = (ROOT / "README.md").read_text(encoding="utf8")
    assert not [path.name for path in (ROOT / "notebooks").glob("*.ipynb") if f"notebooks/{path.name}" not in page]
