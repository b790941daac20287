"""Runs the examples that draw the figures of this site, and writes the figures beside it: `make docs-figures`.

python docs/figures.py [FOLDER], a folder for what the runs write [build/figures]; one core, a quarter of an hour.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES, TYK2, FIGURES = ROOT / "examples", ROOT / "examples" / "tyk2", ROOT / "docs" / "figures"
COMMAND = (sys.executable, "-m", "openmmnnp")
COLORS = 64


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def keep(picture: Path | bytes, name: str) -> None:
    """Write a picture to the site, in few colors, since it is kept in the repository."""
    image = Image.open(picture if isinstance(picture, Path) else io.BytesIO(picture)).convert("RGB")
    image.thumbnail((1400, 1400))
    FIGURES.mkdir(exist_ok=True)
    image.quantize(COLORS).save(FIGURES / name, optimize=True)


def of_report(page: Path, caption: str) -> bytes:
    """The picture of a report above a caption that begins with these words."""
    found = re.findall(r'base64,([^"]+)"><figcaption>([^<]*)<', page.read_text(encoding="utf-8"))
    return base64.b64decode(next(data for data, below in found if below.startswith(caption)))


def main(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    dipeptide = EXAMPLES / "collective_variable" / "alanine_dipeptide.py"
    run(sys.executable, dipeptide, "--format", "pt", "--out", out / "cv")
    keep(out / "cv" / "alanine_dipeptide.png", "alanine_dipeptide.png")
    short = ("--picoseconds", "2", "--rounds", "3")
    run(sys.executable, EXAMPLES / "multiple_time_steps.py", *short, "--out", out / "mts")
    keep(out / "mts" / "total_energy.png", "multiple_time_steps.png")
    files = ("--ligand", TYK2 / "lig.pdb", "--ligand-ff", TYK2 / "lig_gaff.xml", "--model", TYK2 / "ejm_31.pt")
    small = "--padding 0.6nm --cutoff 0.6nm --minimize-steps 20 --nvt 0.05ps --npt 0.05ps --time 0.1ps".split()
    machine = "--platform CPU --threads 1 --hydrogen-mass 1.5Da".split()
    run(*COMMAND, "simulate", *files, *small, *machine, "--out", out / "run")
    keep(of_report(out / "run" / "report.html", "Total energy in NVE"), "simulate_report.png")
    folder, tests = (out / "correct").resolve(), ROOT / "tests" / "python"
    folder.mkdir()
    code = "import sys, pathlib, pages; pages.run_page(*map(pathlib.Path, sys.argv[1:]))"
    run("env", f"PYTHONPATH={tests}", sys.executable, "-c", code, ROOT / "docs" / "free_energies.md", folder)
    keep(of_report(folder / "corrections" / "report.html", "Works of switches"), "works.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "figures")
