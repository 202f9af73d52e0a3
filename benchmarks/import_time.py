"""What `import facexai` adds to `import torch`: `python benchmarks/import_time.py`, one JSON object.

Each program runs in a fresh process; the programs take turns, so that a busy machine slows all of them alike.
"""

import json
import subprocess
import sys
from statistics import median

ROUNDS = 7
PROGRAMS = {
    "torch": "import torch",
    "torch_and_facexai": "import torch, facexai",
    "torch_and_explaining": "import torch; from facexai import FacePair, explain, load_image, load_model",
}
TIMED = "import time; start = time.perf_counter(); {program}; print(time.perf_counter() - start)"


def seconds(program: str) -> float:
    """Time that a fresh process takes for `program`, its own start not counted."""
    command = [sys.executable, "-c", TIMED.format(program=program)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the medians in seconds and their ratios to torch alone."""
    rounds = [{name: seconds(program) for name, program in PROGRAMS.items()} for _ in range(ROUNDS)]
    medians = {name: median(one[name] for one in rounds) for name in PROGRAMS}
    ratios = {name: round(value / medians["torch"], 3) for name, value in medians.items()}
    print(json.dumps({"seconds": {name: round(value, 3) for name, value in medians.items()}, "ratio": ratios}))


if __name__ == "__main__":
    main()
