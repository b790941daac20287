"""From a PyTorch module to a file that :class:`openmmnnp.NNPForce` runs."""

from .package import references, save_pt, save_pt2
from .single import export

__all__ = ["export", "references", "save_pt", "save_pt2"]
