"""Every notebook runs with small parameters, is committed clean, and says in words what its figures show.

With its own parameters each notebook runs in `make book`, and under nbval in `make test`, which compares the outputs of
cells that start with `# NBVAL_CHECK_OUTPUT`.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Parameters with which a notebook takes seconds. A new notebook needs a line here.
FAST: dict[str, dict[str, Any]] = {
    "01_quickstart": {"channels": 4},
    "02_faces_and_scores": {"people": 4, "folds": 2, "pairs": 20},
    "03_training": {"identities": 8, "images_per_identity": 8, "epochs": 2},
    "04_algorithm_1": {"partners": 3, "channels": 4},
    "05_explainers": {"masks": 12, "samples": 2, "stride": 28, "left_out": "fggb,contrast"},
    "06_is_the_map_right": {
        "methods": "max-pool,gradient",
        "people": 2,
        "pairs": 4,
        "true_pairs": 2,
        "sanity_pairs": 4,
    },
    "07_pose": {"people": 3, "images": 6},
    "08_fspfm": {"people": 12},
    "09_finetuning": {"people": 24, "epochs": 3},
    "10_explaining_frontalization": {"step": 45, "people": 2},
    "11_benchmarks": {"people": 6, "folds": 2, "pairs": 20, "resamples": 20},
    "12_your_own_model": {"people": 8, "faces_to_rebuild": 40, "epochs": 1, "masks": 20},
}
LARGEST = 100_000  # bytes; a notebook with its figures has megabytes

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


@each_notebook
def test_runs_with_fast_parameters_and_its_figures_have_words(path: Path, tmp_path: Path):
    assert path.stem in FAST, "give the notebook a line in FAST"
    assert set(FAST[path.stem]) <= set(papermill.inspect_notebook(str(path))), "not in the cell tagged 'parameters'"
    executed = papermill.execute_notebook(
        str(path),
        str(tmp_path / path.name),
        parameters=FAST[path.stem],
        cwd=str(FOLDER),
        progress_bar=False,
        execution_timeout=600,
    )
    figures = [cell for cell in code_cells(executed) if "figure" in tags(cell)]
    assert figures, "a notebook shows something; tag the cells that draw 'figure'"
    wordless = [cell.source for cell in figures if not has_words(cell)]
    assert not wordless


def has_words(cell: Any) -> bool:
    """Whether the output of a cell is a figure with a description and a caption."""
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    figures = [page for page in pages if "<figure" in page]
    return bool(figures) and all(
        re.search(r'(aria-label|alt)="[^"]+"', page) and re.search(r"<figcaption[^>]*>\s*\S", page) for page in figures
    )


@each_notebook
def test_is_committed_clean(path: Path):
    kept = [cell for cell in code_cells(read(path)) if cell.outputs]
    assert all("keep_output" in tags(cell) for cell in kept), "run nbstripout --keep-count, or tag the cell keep_output"
    assert path.stat().st_size < LARGEST


@each_notebook
def test_checked_outputs_are_recorded(path: Path):
    checked = [cell for cell in code_cells(read(path)) if "NBVAL_CHECK_OUTPUT" in cell.source]
    assert checked, "a notebook records at least one number"
    assert all("keep_output" in tags(cell) and cell.outputs for cell in checked), "run `make lock`"


@each_notebook
def test_follows_the_frame_of_the_book(path: Path):
    notebook = read(path)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert notebook.cells[0].source.startswith("# "), "the first cell is the title"
    assert any("parameters" in tags(cell) for cell in notebook.cells)
    for words in ("You will learn", "Strengths and limits", "{exercise}", ":class: dropdown"):
        assert words in prose, f"no '{words}'"


def test_fast_parameters_belong_to_notebooks():
    assert set(FAST) == {path.stem for path in NOTEBOOKS}
