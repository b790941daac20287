"""Writes the model Pair for CUDA as pair.pt and pair.pt2 into a folder, for short.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from models import Pair, pair_example, pair_spec
from openmmnnp.export import save_pt, save_pt2

folder = Path(sys.argv[1])
examples = [pair_example(5), pair_example(6)]
save_pt(Pair(), pair_spec(), folder / "pair.pt", examples=examples)
save_pt2(Pair(), pair_spec(), folder / "pair.pt2", examples=examples, device="cuda")
