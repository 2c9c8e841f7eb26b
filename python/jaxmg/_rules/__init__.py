"""Differentiation rules, written in terms of the programs."""
