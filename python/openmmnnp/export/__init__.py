"""From a PyTorch module to a file that :class:`openmmnnp.NNPForce` runs. Needs torch, but not OpenMM."""

from .package import references, save_pt, save_pt2

__all__ = ["references", "save_pt", "save_pt2"]
