"""Reports of full runs that come with the package, so that pages can show what takes hours to compute.

`benchmarks/full_runs.sh` makes them anew, judge by judge.
"""

import json
from importlib import resources
from typing import Any


def load_results(judge: str = "") -> list[dict[str, Any]]:
    """Shipped reports of the judges whose name begins so, in the order of their file names; all where it is empty.

    Args:
        judge: `"hiding-game"`, `"insertion-deletion"`, `"localize"`, `"localize regions"`, `"sanity"`, ...

    Returns:
        The JSON that the command of that judge wrote; an empty list where none is shipped.
    """
    files = (file for file in resources.files("facexai.results").iterdir() if file.name.endswith(".json"))
    reports = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(files, key=lambda file: file.name)]
    return [report for report in reports if report["judge"].startswith(judge)]
