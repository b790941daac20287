"""The ligand with GAFF in water and in the protein's pocket, whose pressure gives it other shapes than vacuum does."""

import numpy as np
import openmm as mm
from labels import HERE, ligand
from openmm import app, unit

GAFF = str(HERE / "lig_gaff.xml")


def in_vacuum() -> tuple[mm.System, list[mm.Vec3]]:
    pdb, _, _ = ligand()
    return app.ForceField(GAFF).createSystem(pdb.topology, nonbondedMethod=app.NoCutoff), pdb.positions


def in_water() -> tuple[mm.System, list[mm.Vec3]]:
    """The bound pose in a small box of TIP3P-FB at the density that `addSolvent` gives."""
    pdb, _, _ = ligand()
    model = app.Modeller(pdb.topology, pdb.positions)
    field = app.ForceField("amber14/tip3pfb.xml", GAFF)
    model.addSolvent(field, padding=1.2 * unit.nanometer, boxShape="dodecahedron")
    options = dict(nonbondedMethod=app.PME, nonbondedCutoff=0.8 * unit.nanometer, rigidWater=True)
    return field.createSystem(model.topology, **options), model.positions


def in_pocket(reach: float = 0.8) -> tuple[mm.System, list[mm.Vec3]]:
    """The ligand among the residues that come within `reach` (nm) of it, whose atoms stay where they are."""
    system, positions = in_vacuum()
    protein = app.PDBFile(str(HERE / "Tyk2_protein.pdb"))
    there = np.array(protein.positions.value_in_unit(unit.nanometer))
    here = np.array(positions.value_in_unit(unit.nanometer))
    near = (np.linalg.norm(there[:, None] - here[None], axis=-1) < reach).any(axis=1)
    atoms = [a.index for r in protein.topology.residues() for a in r.atoms() if any(near[b.index] for b in r.atoms())]

    full = app.ForceField("amber14-all.xml").createSystem(protein.topology, nonbondedMethod=app.NoCutoff)
    charges = next(f for f in full.getForces() if isinstance(f, mm.NonbondedForce))
    own = next(f for f in system.getForces() if isinstance(f, mm.NonbondedForce))
    between = mm.CustomNonbondedForce("138.9354576*q1*q2/r + 4*sqrt(e1*e2)*(x^12 - x^6); x = (s1 + s2)/(2*r)")
    for name in ("q", "s", "e"):
        between.addPerParticleParameter(name)
    for i in range(len(here)):
        between.addParticle(own.getParticleParameters(i))
    for i in atoms:
        system.addParticle(0.0)
        own.addParticle(0.0, 0.1, 0.0)
        between.addParticle(charges.getParticleParameters(i))
    for i in range(own.getNumExceptions()):
        between.addExclusion(*own.getExceptionParameters(i)[:2])
    between.addInteractionGroup(range(len(here)), range(len(here), len(here) + len(atoms)))
    system.addForce(between)
    return system, np.concatenate([here, there[atoms]]) * unit.nanometer
