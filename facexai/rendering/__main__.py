"""Write the contact sheets as PNG files: `python -m facexai.rendering --out DIR`."""

import argparse
from pathlib import Path

from PIL import Image

from facexai.rendering.sheets import SHEETS


def main() -> None:
    """Parse the command line and write one file per sheet."""
    parser = argparse.ArgumentParser(description="write contact sheets of rendered faces")
    parser.add_argument("--out", type=Path, default=Path("sheets"), help="folder for the PNG files")
    parser.add_argument("--size", type=int, default=112, help="side of one face in pixels")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, sheet in SHEETS.items():
        path = arguments.out / f"{name}.png"
        Image.fromarray(sheet(arguments.size)).save(path)
        print(path)


if __name__ == "__main__":
    main()
