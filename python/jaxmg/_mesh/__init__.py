"""Meshes: the ranks of a call, placement of arrays, programs over the ranks."""
