"""Architectures of published models, and parts of models, written to be traced and scripted. Needs torch."""

from .charges import SwitchedCharges

__all__ = ["SwitchedCharges"]
