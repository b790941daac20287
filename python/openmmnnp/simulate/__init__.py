"""Protein-ligand simulations with a potential, from files to a report: what `openmm-nnp simulate` does."""
