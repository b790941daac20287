"""ML/MM: a potential takes over the interactions inside a region, MM describes all else.

    E = E_MM(System) - E_MM(region) + E_potential(region)

E_MM(region) is the MM energy of the region alone: unwrapped, in vacuum, and without a cutoff for charges, unless the
System cuts them (reaction field). Its interactions with its own periodic images, the Ewald self terms and the
dispersion correction stay MM, and so do implicit-solvent forces. The nearest image of a pair counts as the pair, so
that the region must be narrower than the box by the cutoff.

The files, in the order in which a System passes them:

    mixed          createSystem and createMixedSystem, which users call
    region, table  the particles of the region, which terms are theirs, and what was removed
    mechanical     takes the region's terms out of a System, and hands it to the potential
    bonded, nonbonded                    the terms of each force
    interpolate, pairs, custom_pairs     these terms times (1 - lambda)
    model, warn    whether model and region fit, and what is seldom meant
    images         the region's images, which a long-range model has itself
    links          link atoms on the bonds that the boundary cuts
    charges        electrostatic embedding
    select         atoms by residue, SMARTS or MDTraj's language
"""

from __future__ import annotations

from .bonded import BONDED_FORCES
from .mechanical import EmbeddedSystem, RegionForce, mechanical_embedding
from .select import select
from .table import RemovedTable, RemovedTerms

__all__ = [
    "BONDED_FORCES",
    "EmbeddedSystem",
    "RegionForce",
    "RemovedTable",
    "RemovedTerms",
    "mechanical_embedding",
    "select",
]
