"""The main job as a script of one's own: a complex in water, the ligand's interior described by a potential.

`openmm-nnp simulate` does all of this, and equilibrates, resumes, watches and reports.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, Platform
from openmm.app import PME, ForceField, HBonds, Modeller, PDBFile, Simulation, StateDataReporter, XTCReporter
from openmm.unit import bar, femtosecond, kelvin, molar, nanometer, picosecond

from openmmnnp import createMixedSystem


def build(protein_file, ligand_file, ligand_xml):
    """Both molecules in TIP3P-FB water with 0.15 M salt: topology, System, positions, indices of the ligand."""
    protein, ligand = PDBFile(str(protein_file)), PDBFile(str(ligand_file))
    force_field = ForceField("amber14-all.xml", "amber14/tip3pfb.xml", str(ligand_xml))
    model = Modeller(protein.topology, protein.positions)
    model.add(ligand.topology, ligand.positions)
    model.addSolvent(force_field, padding=0.9 * nanometer, boxShape="dodecahedron", ionicStrength=0.15 * molar)
    options = dict(nonbondedMethod=PME, nonbondedCutoff=0.9 * nanometer, constraints=HBonds)
    system = force_field.createSystem(model.topology, **options)
    system.addForce(MonteCarloBarostat(1 * bar, 300 * kelvin))
    first = protein.topology.getNumAtoms()
    return model.topology, system, model.positions, range(first, first + ligand.topology.getNumAtoms())


def run(topology, system, positions, ligand, potential, *, steps, platform=None, out="."):
    """Hand the ligand to the potential, minimize, and run `steps` of 1 fs: the Simulation and its speed in ns/day."""
    mixed = createMixedSystem(topology, system, ligand, potential, returnInfo=True)
    print(f"{Path(potential).name} describes the interior of {len(ligand)} atoms, in place of")
    print(mixed["removed"], flush=True)
    integrator = LangevinMiddleIntegrator(300 * kelvin, 1 / picosecond, 1 * femtosecond)
    simulation = Simulation(topology, mixed["system"], integrator, platform and Platform.getPlatform(platform))
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy(maxIterations=50)  # enough to start from
    simulation.context.setVelocitiesToTemperature(300 * kelvin)

    out, every = Path(out), max(1, min(steps // 10, 1000))
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "minimized.pdb", "w") as file:
        PDBFile.writeFile(topology, simulation.context.getState(positions=True).getPositions(), file)
    log = dict(step=True, potentialEnergy=True, temperature=True, density=True, speed=True)
    progress = dict(progress=True, remainingTime=True, totalSteps=steps, **log)
    simulation.reporters.append(XTCReporter(str(out / "trajectory.xtc"), every, enforcePeriodicBox=True))
    simulation.reporters.append(StateDataReporter(str(out / "log.csv"), every, **log))
    simulation.reporters.append(StateDataReporter(sys.stdout, every, **progress))
    start = time.perf_counter()
    simulation.step(steps)
    return simulation, steps * 1e-6 / (time.perf_counter() - start) * 86400


if __name__ == "__main__":
    tyk2 = Path(__file__).parent / "tyk2"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--protein", default=tyk2 / "Tyk2_protein.pdb", help="PDB file with hydrogens")
    parser.add_argument("--ligand", default=tyk2 / "lig.pdb", help="PDB file with hydrogens and CONECT records")
    parser.add_argument("--ligand-xml", default=tyk2 / "lig_gaff.xml", help="OpenMM force field of the ligand")
    parser.add_argument("--model", default=tyk2 / "ejm_31.pt", help="potential of the ligand, .pt or .pt2")
    parser.add_argument("--steps", default=1000, type=int, help="time steps of 1 fs")
    parser.add_argument("--platform", help="Reference, CPU, OpenCL or CUDA; None: the fastest")
    parser.add_argument("--out", default="protein_ligand", help="folder for the trajectory and the log")
    args = parser.parse_args()
    print(f"adding water and salt to {args.protein} and {args.ligand}", flush=True)
    built = build(args.protein, args.ligand, args.ligand_xml)
    simulation, speed = run(*built, args.model, steps=args.steps, platform=args.platform, out=args.out)
    print(
        f"{args.steps} steps of {built[0].getNumAtoms()} atoms on {simulation.context.getPlatform().getName()}:",
        end=" ",
    )
    print(f"{speed:.2f} ns/day; trajectory and log are in {args.out}")
    longer = {**vars(args), "steps": 1_000_000, "out": f"{args.out}_1ns"}
    changed = {name: value for name, value in longer.items() if value != parser.get_default(name)}
    options = [text for name, value in changed.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    print(f"1 ns ({24 / speed:.1f} h at this speed): {shlex.join([sys.executable, sys.argv[0], *options])}")
