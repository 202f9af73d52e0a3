"""Reports of full runs that come with the package, so that pages can show what takes hours to compute.

`benchmarks/full_runs.sh` makes them anew, judge by judge.
"""

import json
from importlib import resources
from typing import Any


def load_results(judge: str = "", folder: str = "methods") -> list[dict[str, Any]]:
    """Shipped reports of the judges whose name begins so, in the order of their file names; all where it is empty.

    Args:
        judge: `"hiding-game"`, `"insertion-deletion"`, `"localize"`, `"localize regions"`, `"sanity"`, ...
        folder: `"methods"`: all methods; `"ablation"`: `ddfv` from its printed form to its default, step by step;
            `"photographs"`: methods on real faces, for numbers alone; `"frontalization"`: modules that frontalize
            embeddings, whose judge is called `"frontalization"`, and Table 1 of FSPFM in small, whose judge is
            `"frontalization-stages"`; `"fairness"`: error rates by group of people, whose judge is called
            `"skin-tones"` (`benchmarks/skin_tones.py`).

    Returns:
        The JSON that the command of that judge wrote; an empty list where none is shipped.
    """
    reports = resources.files("facexai.results") / folder
    files = (file for file in reports.iterdir() if file.name.endswith(".json")) if reports.is_dir() else ()
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(files, key=lambda file: file.name)]
    return [report for report in found if report.get("judge", report.get("benchmark", "")).startswith(judge)]
