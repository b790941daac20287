"""Every case of a YAML file, by every backend that is installed, on every platform that is there.

One thread, cases in turns in one run, medians with quartiles, each beside the physics that it must pass:

    OMP_NUM_THREADS=1 OPENMM_CPU_THREADS=1 python tests/benchmarks/bench.py --out bench.json --markdown bench.md

Results are written after each case. The exit status is 1 if a figure of ours does not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import openmm
import torch
from backends import Bench
from cases import Case, read_cases
from measures import MEASURES
from peer import Peer
from potentials import POTENTIALS, Potential
from tables import report, table, write_readme
from timing import ROOT, surroundings

import openmmnnp

HERE = Path(__file__).parent
KEPT = HERE / "results" / "cpu.json"


def platforms_here() -> list[str]:
    """Names of OpenMM's platforms that are there and for which there is a plugin of ours."""
    plugins = {p.stem.removeprefix("libOpenMMNNP") for p in Path(openmmnnp.__file__).parent.glob("lib/plugins/*.so")}
    plugins |= {"CPU"}
    here = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    return [name for name in here if name in plugins]


def run_case(case: Case, potential: Potential, bench: Bench) -> list[dict[str, Any]]:
    rows = []
    for platform in case.platforms:
        if platform in platforms_here():
            rows += MEASURES[case.measure](case, platform, potential, bench)
    print(f"\n{case.name}\n\n{table(rows)}", flush=True)
    return rows


def run(cases: list[Case], chosen: list[Case], bench: Bench, out: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The results, which are also written to a JSON file: of the chosen cases, and earlier rows of the others."""
    build = cache(lambda name: POTENTIALS[name](bench.folder))
    results: dict[str, Any] = surroundings() | {"peer": bench.peer and bench.peer.versions}
    results["cases"] = {case.name: asdict(case) for case in cases}
    names = list(results["cases"])
    found = [row for row in rows if row["case"] in names and row["case"] not in {case.name for case in chosen}]
    for case in chosen:
        try:
            potential = build(case.model)
        except ValueError as error:
            print(f"\n{case.name}: left out: {error}", flush=True)
            continue
        found += run_case(case, potential, bench)
        results["rows"] = sorted(found, key=lambda row: names.index(row["case"]))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, default=HERE / "cases.yaml")
    parser.add_argument("--only", nargs="+", default=[""], help="cases with one of these in their names")
    parser.add_argument("--openmm-torch", type=Path, metavar="PYTHON", help="Python with openmmtorch")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "bench.json")
    parser.add_argument("--markdown", type=Path, help="file for the tables [beside --out]")
    parser.add_argument(
        "--add", action="store_true", help="to the results in --out, in place of those of the same cases"
    )
    parser.add_argument("--publish", action="store_true", help="into README, and into the results that are kept")
    words = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = read_cases(words.cases)
    chosen = [case for case in cases if any(part in case.name for part in words.only)]
    rows = json.loads(words.out.read_text())["rows"] if words.add else []
    peer = Peer(words.openmm_torch) if words.openmm_torch else None
    with tempfile.TemporaryDirectory() as folder:
        results = run(cases, chosen, Bench(Path(folder), peer), words.out, rows)
    if peer:
        peer.close()
    (words.markdown or words.out.with_suffix(".md")).write_text(report(results) + "\n")
    if words.publish:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(results, indent=1) + "\n")
        write_readme(ROOT / "README.md", results)
    print(f"\nresults: {words.out}")
    ours = [row for row in results["rows"] if row["backend"].removesuffix(", energy entry").endswith((".pt", ".pt2"))]
    sys.exit(any(row.get("failed") or row.get("fault") for row in ours))


if __name__ == "__main__":
    main()
