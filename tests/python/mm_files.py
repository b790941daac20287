"""Small molecules in the file formats of Gromacs, CHARMM and Amber, with every kind of term that their readers know."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app, unit

from systems import TestedSystem

# A zigzag of five heavy atoms with a branch; nm
CHAIN = np.array([[0, 0, 0], [0.12, 0.08, 0.01], [0.25, 0.01, 0.02], [0.36, 0.11, -0.03], [0.49, 0.03, 0.06]])
CHAIN = np.vstack([CHAIN, [0.26, -0.12, 0.05]])
FAR = CHAIN + [0.1, 0.45, 0.3]  # a second molecule

GROMACS = """\
[ defaults ]
1 {rule} yes 0.5 0.8333
[ atomtypes ]
{types}
[ nonbond_params ]
A B 1 {off}
[ pairtypes ]
A B 1 {off}
[ cmaptypes ]
A A B A A 1 4 4\\
1.0 2.0 3.0 -1.0 0.5 2.5 -2.0 1.5 3.5 0.2 0.1 -0.7 1.1 2.2 0.3 -0.4
[ moleculetype ]
MOL 3
[ atoms ]
1 A 1 MOL C1 1 0.2 12.0
2 A 1 MOL C2 1 -0.3 12.0
3 B 1 MOL C3 1 0.25 12.0
4 A 1 MOL C4 1 -0.1 12.0
5 A 1 MOL C5 1 0.15 12.0
6 B 1 MOL C6 1 -0.2 12.0
[ bonds ]
1 2 1 0.15 200000
2 3 1 0.15 200000
3 4 1 0.15 200000
4 5 1 0.15 200000
3 6 1 0.14 250000
[ pairs ]
1 4 1
2 5 1
[ angles ]
1 2 3 1 112 400
2 3 4 5 111 380 0.25 9000
3 4 5 1 112 400
2 3 6 1 120 400
[ dihedrals ]
1 2 3 4 3 9.28 12.16 -13.12 -3.06 26.24 -31.5
2 3 4 5 9 0 1.5 3
3 2 4 6 2 10 150
[ cmap ]
1 2 3 4 5 1
[ system ]
two
[ molecules ]
MOL {molecules}
"""

CHARMM_PSF = """\
PSF

       1 !NTITLE
 REMARKS two molecules of six atoms

{n:8d} !NATOM
{atoms}

{nb:8d} !NBOND: bonds
{bonds}

{nt:8d} !NTHETA: angles
{angles}

{nd:8d} !NPHI: dihedrals
{dihedrals}

{ni:8d} !NIMPHI: impropers
{impropers}

       0 !NDON: donors


       0 !NACC: acceptors


       0 !NNB


       1       0 !NGRP NST2
       0       0       0

{nc:8d} !NCRTERM: cross-terms
{cmaps}

"""

CHARMM_PRM = """\
* six atoms
*
ATOMS
MASS 1 CA 12.011 C
MASS 2 CB 12.011 C

BONDS
CA CA 222.5 1.53
CA CB 240.0 1.50
CB CB 240.0 1.45

ANGLES
CA CA CB 50.0 113.6 11.16 2.561
CA CB CA 52.0 112.0 8.0 2.5
CB CA CA 50.0 113.6 11.16 2.561
CA CB CB 45.0 118.0
CB CB CA 45.0 118.0

DIHEDRALS
X CA CB X 0.19 3 0.0
X CB CA X 0.19 3 0.0

IMPROPER
CB CA CA CB 30.0 0 20.0

CMAP
CA CA CB CA CA CB CA CA 4
! -180
1.0 2.0 3.0 -1.0
! -90
0.5 2.5 -2.0 1.5
! 0
3.5 0.2 0.1 -0.7
! 90
1.1 2.2 0.3 -0.4

NONBONDED nbxmod 5 atom cdiel shift vatom vdistance vswitch -
cutnb 14.0 ctofnb 12.0 ctonnb 10.0 eps 1.0 e14fac 1.0 wmin 1.5
CA 0.0 -0.056 2.01 0.0 -0.01 1.9
CB 0.0 -0.078 2.05 0.0 -0.01 1.9

NBFIX
CA CB -0.2 3.5

END
"""


def gromacs(folder: Path, rule: int, molecules: int = 2, **options: Any) -> TestedSystem:
    """Combination rule 2 gives Lorentz-Berthelot, 1 and 3 a CustomNonbondedForce; off-diagonal terms as well."""
    lj = {"A": (0.35, 0.4), "B": (0.32, 0.6), "off": (0.4, 0.9)}
    text = {name: f"{s} {e}" if rule > 1 else f"{4 * e * s**6} {4 * e * s**12}" for name, (s, e) in lj.items()}
    types = "\n".join(f"{name} 6 12.0 0.0 A {text[name]}" for name in "AB")
    values = {"rule": rule, "types": types, "off": text["off"], "molecules": molecules}
    (folder / "two.top").write_text(GROMACS.format(**values))
    top = app.GromacsTopFile(str(folder / "two.top"), unitCellDimensions=[2.5, 2.5, 2.5] * unit.nanometer)
    return _tested(top.topology, top.createSystem(**options))


def charmm(folder: Path, molecules: int = 2, **options: Any) -> TestedSystem:
    """Urey-Bradley terms, harmonic impropers, CMAP and NBFIX."""
    bonds = [(1, 2), (2, 3), (3, 4), (4, 5), (3, 6)]
    angles = [(1, 2, 3), (2, 3, 4), (3, 4, 5), (2, 3, 6), (4, 3, 6)]
    dihedrals = [(1, 2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 6)]
    impropers, cmaps = [(3, 2, 4, 6)], [(1, 2, 3, 4, 2, 3, 4, 5)]
    kinds, charges = ("CA", "CA", "CB", "CA", "CA", "CB"), (0.2, -0.3, 0.25, -0.1, 0.15, -0.2)
    atoms = [
        f"{6 * m + i + 1:8d} SEG  {m + 1:<4d} MOL  C{i + 1}   {kinds[i]}   {charges[i]:10.6f}{12.011:14.4f}{0:12d}"
        for m in range(molecules)
        for i in range(6)
    ]

    def listed(terms: list[tuple[int, ...]]) -> str:
        return "\n".join("".join(f"{i + 6 * m:8d}" for i in term) for m in range(molecules) for term in terms)

    counts = {name: molecules * n for name, n in {"n": 6, "nb": 5, "nt": 5, "nd": 3, "ni": 1, "nc": 1}.items()}
    terms = {"bonds": bonds, "angles": angles, "dihedrals": dihedrals, "impropers": impropers, "cmaps": cmaps}
    text = CHARMM_PSF.format(atoms="\n".join(atoms), **counts, **{k: listed(v) for k, v in terms.items()})
    (folder / "two.psf").write_text(text)
    (folder / "two.prm").write_text(CHARMM_PRM)
    psf = app.CharmmPsfFile(str(folder / "two.psf"))
    psf.setBox(2.5 * unit.nanometer, 2.5 * unit.nanometer, 2.5 * unit.nanometer)
    parameters = app.CharmmParameterSet(str(folder / "two.prm"))
    return _tested(psf.topology, psf.createSystem(parameters, **options))


def amber_nbfix(folder: Path) -> TestedSystem:
    """Alanine dipeptide in vacuum, one pair of types of which does not follow the combination rule."""
    spec = find_spec("openmmtools")
    assert spec and spec.origin
    name = Path(spec.origin).parent / "data" / "alanine-dipeptide-gbsa" / "alanine-dipeptide"
    lines = Path(f"{name}.prmtop").read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("%FLAG LENNARD_JONES_ACOEF")) + 2
    lines[first] = lines[first][:16] + f"{5.5e5:16.8E}" + lines[first][32:]
    (folder / "fix.prmtop").write_text("".join(lines))
    prmtop = app.AmberPrmtopFile(str(folder / "fix.prmtop"))
    system = prmtop.createSystem(constraints=None, implicitSolvent=app.OBC2)
    return TestedSystem(prmtop.topology, system, app.AmberInpcrdFile(f"{name}.crd").positions)


def _tested(topology: app.Topology, system: Any) -> TestedSystem:
    positions = np.vstack([CHAIN, FAR])[: topology.getNumAtoms()]
    return TestedSystem(topology, system, positions * unit.nanometer)
