"""Make reports small: `python -m facexai.results FILE ...` rounds their numbers and writes one method a line."""

import json
import sys
from pathlib import Path
from typing import Any

from facexai.weights import write_atomically

DIGITS = 5


def rounded(value: Any) -> Any:
    """The same with every float rounded to five decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def compact(report: dict[str, Any]) -> str:
    """The report as JSON, one line for each entry and each method."""
    report = rounded(report)
    methods = ",\n".join(f"  {json.dumps(name)}: {json.dumps(line)}" for name, line in report.pop("methods").items())
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in report.items()]
    return "{\n" + ",\n".join([*lines, '"methods": {\n' + methods + "\n}"]) + "\n}\n"


def main() -> None:
    """Rewrite each file in place."""
    for name in sys.argv[1:]:
        write_atomically(Path(name), compact(json.loads(Path(name).read_text(encoding="utf-8"))).encode())


if __name__ == "__main__":
    main()
