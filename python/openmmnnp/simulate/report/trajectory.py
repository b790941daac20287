"""The trajectory of a run: the region and the protein's backbone, imaged, and the RMSD of the region. Lengths in nm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .geometry import assembled, superposed
from .run_folder import Missing, RunRecord

__all__ = ["Trajectory", "last_positions", "ligand_rmsd", "read_trajectory"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """Positions of the region [1 + frames, n, 3], in its own order, and of the backbone [1 + frames, m, 3].

    Entry 0 is topology.pdb, the others are production. Molecules are whole and beside each other. m is 0 if there is no
    protein but the region.
    """

    times: Array  # [frames], ps from the start of production
    region: Array
    backbone: Array


def read_trajectory(run: RunRecord, last: bool = False) -> Trajectory:
    """The trajectory of a run, or its last frame only. Raises Missing if there is none."""
    import mdtraj

    start = mdtraj.load(str(run.file("topology.pdb")))
    wanted = np.concatenate([np.array(run.atoms, dtype=int), _backbone(start.topology, set(run.atoms))])
    saved, top = wanted, start.topology
    if (run.folder / "trajectory.pdb").is_file():
        top = mdtraj.load_topology(str(run.folder / "trajectory.pdb"))
        saved = _same_atoms(start.topology, top, wanted, run)
    read = np.unique(saved)  # mdtraj gives atoms in ascending order
    loaded = _frames(run, top, read, last)
    positions = np.concatenate([start.xyz[:, wanted], loaded.xyz[:, np.searchsorted(read, saved)]]).astype(float)
    place = {atom: k for k, atom in enumerate(wanted)}
    bonds = [(place[a.index], place[b.index]) for a, b in start.topology.bonds if {a.index, b.index} <= place.keys()]
    positions = assembled(positions, _boxes(start, loaded), [*bonds, *run.bonds])
    n = len(run.atoms)
    return Trajectory(_times(run, loaded), positions[:, :n], positions[:, n:])


def last_positions(run: RunRecord) -> tuple[Array, str]:
    """Positions [n, 3] of the region at the end of the run, whole, and the name of their file."""
    import mdtraj

    try:
        return read_trajectory(run, last=True).region[-1], run.trajectory.name
    except Missing:
        final = mdtraj.load(str(run.file("final.pdb")), atom_indices=np.unique(run.atoms))
        order = np.searchsorted(np.unique(run.atoms), run.atoms)
        return assembled(final.xyz[:, order].astype(float), final.unitcell_vectors, run.bonds)[0], "final.pdb"


def ligand_rmsd(trajectory: Trajectory, heavy: NDArray[np.int64]) -> Array:
    """RMSD [frames] in nm of the region's atoms `heavy` from topology.pdb, after superposing the backbone.

    Without a backbone the atoms themselves are superposed. Equivalent atoms are not exchanged.
    """
    ligand = trajectory.region[:, heavy]
    fitted = trajectory.backbone if trajectory.backbone.shape[1] else ligand
    moved = superposed(ligand, fitted)
    return np.asarray(np.sqrt(np.square(moved[1:] - moved[0]).sum(axis=-1).mean(axis=-1)))


def _frames(run: RunRecord, topology: Any, atoms: NDArray[np.int64], last: bool) -> Any:
    """All frames or the last one, as MDTraj's Trajectory; without a frame that was cut when the run was killed."""
    import mdtraj

    path = str(run.trajectory)
    for missing in (0, 1):
        try:
            with mdtraj.open(path) as file:
                frames = len(file) - missing
                if last:
                    file.seek(max(0, frames - 1))
                if frames > 0:
                    return file.read_as_traj(topology, n_frames=1 if last else frames, atom_indices=atoms)
        except (OSError, RuntimeError):  # also of a file with no frame
            pass
    raise Missing(f"The trajectory of {run.label} has no whole frame.")


def _backbone(topology: Any, region: set[int]) -> NDArray[np.int64]:
    """The protein's backbone outside the region; nothing if it is less than four atoms, which is no protein."""
    found = [int(i) for i in topology.select("protein and backbone") if int(i) not in region]
    return np.array(found if len(found) > 3 else [], dtype=int)


def _same_atoms(full: Any, part: Any, wanted: NDArray[np.int64], run: RunRecord) -> NDArray[np.int64]:
    """Indices in `part` of the atoms `wanted` of `full`: the same residue number, residue and name."""

    def keys(topology: Any) -> list[tuple[Any, ...]]:  # equal ones, in other chains, are told apart by their order
        seen: Counter[tuple[Any, ...]] = Counter()
        found = []
        for atom in topology.atoms:
            key = (atom.residue.resSeq, atom.residue.name, atom.name)
            seen[key] += 1
            found.append((*key, seen[key]))
        return found

    places = {key: i for i, key in enumerate(keys(part))}
    needed = keys(full)
    missing = [needed[i][:3] for i in wanted if needed[i] not in places]
    if missing:
        number, residue, name = missing[0]
        raise Missing(f"The trajectory of {run.label} lacks atoms: trajectory.pdb has no {name} in {residue} {number}.")
    return np.array([places[needed[i]] for i in wanted], dtype=int)


def _boxes(start: Any, loaded: Any) -> Array | None:
    """Box vectors [1 + frames, 3, 3]; None if there is no box."""
    boxes = loaded.unitcell_vectors
    if boxes is None or not np.all(np.linalg.det(boxes)):
        return None
    first = boxes[:1] if start.unitcell_vectors is None else start.unitcell_vectors
    return np.concatenate([first, boxes]).astype(float)


def _times(run: RunRecord, loaded: Any) -> Array:
    """Times [frames] in ps from the start of production: an XTC knows them, for a DCD they are those of the log."""
    n = len(loaded.time)
    if run.trajectory.suffix == ".xtc" and n > 1 and np.all(np.diff(loaded.time) > 0):
        times = loaded.time.astype(float)
        return np.asarray(times - times[0] + (times[1] - times[0]))
    return np.arange(1, n + 1) * (run.production_length or n) / n
