"""Rules of differentiation, written in terms of the programs."""
