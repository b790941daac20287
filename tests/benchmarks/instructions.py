"""Instructions that a step with NNPForce costs beside one without it, by library: counts, which repeat exactly.

A null model of 64 particles as .pt2 on the Reference platform, in Systems of several sizes, under valgrind's callgrind
(Debian: valgrind). Start-up is taken out: each figure is the difference of two runs of different length.

    python tests/benchmarks/instructions.py --sizes 100 10000
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from potentials import null
from tqdm import tqdm

SCRIPT = """
import sys, numpy, openmm
path, n, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
import openmmnnp
system = openmm.System()
for _ in range(n):
    system.addParticle(1.0)
if path:
    force = openmmnnp.NNPForce(path)
    force.setParticles(range(64))
    system.addForce(force)
platform = openmm.Platform.getPlatformByName("Reference")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
generator = numpy.random.default_rng(1)
context.setPositions(generator.random((n, 3)))
context.setVelocities(1e-3 * generator.normal(size=(n, 3)))
context.getIntegrator().step(steps)
"""
FEW, MANY = 20, 60
WITHOUT_AVX512 = {"cpp.simdlen": 256, "cpp.march": "x86-64-v3"}  # valgrind does not know it


def count(path: str, n: int, steps: int, folder: Path) -> collections.Counter[str]:
    """Instructions by library in a run of SCRIPT."""
    out = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, "-c", SCRIPT, path]
    subprocess.run([*command, str(n), str(steps)], check=True, capture_output=True)
    return by_library(out)


def by_library(out: Path) -> collections.Counter[str]:
    """Instructions of each library itself, those of what it calls left out (callgrind's format, version 1)."""
    found: collections.Counter[str] = collections.Counter()
    names: dict[str, str] = {}
    library, of_a_call = "", False
    for line in out.read_text().splitlines():
        if match := re.match(r"ob=\((\d+)\)(?: (.*))?", line):
            library = names.setdefault(match[1], match[2] or "")
        elif match := re.match(r"cob=\((\d+)\) (.*)", line):
            names[match[1]] = match[2]
        elif line.startswith("calls="):
            of_a_call = True
        elif re.match(r"[+\-*\d]", line):
            if not of_a_call:
                found[library] += int(line.split()[1])
            of_a_call = False
    return found


def group(library: str) -> str | None:
    """Whose a library is; None for Python and the system, which differ from run to run."""
    name = Path(library).name
    if name.startswith("libOpenMMNNP"):
        return "openmm-nnp"
    if re.match(r"lib(torch|c10|gomp|mkl)", name):
        return "torch"
    if name.startswith("libOpenMM"):
        return "OpenMM"
    if "openmmnnp" in library:
        return "the model's library"
    return None


def a_step(path: str, n: int, folder: Path) -> collections.Counter[str]:
    """Instructions of a step by group of libraries."""
    few, many = count(path, n, FEW, folder), count(path, n, MANY, folder)
    total: collections.Counter[str] = collections.Counter()
    for library in many | few:
        if name := group(library):
            total[name] += many[library] - few[library]
    return collections.Counter({name: round(value / (MANY - FEW)) for name, value in total.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    words = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path = str(null(Path(name), WITHOUT_AVX512).files["pt2"])  # valgrind knows no AVX-512
        for n in tqdm(words.sizes, "sizes"):
            with_force, without = a_step(path, n, Path(name)), a_step("", n, Path(name))
            groups = sorted(set(with_force) | set(without))
            rows.append({"particles": n} | {g: with_force[g] - without[g] for g in groups})
    heads = list(dict.fromkeys(key for row in rows for key in row))
    print("| " + " | ".join(heads) + " |\n" + "|---:" * len(heads) + "|")
    for row in rows:
        print("| " + " | ".join(f"{row.get(head, 0):,d}" for head in heads) + " |")
    if words.out:
        words.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
