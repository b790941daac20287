"""Architectures of published models, written to be traced and scripted. Needs torch."""
