#!/bin/bash
# One process for each GPU, started by MPI: mpi.sh COUNT [options of mpirun, like a list of hosts]
#
# mpi4py (pip install mpi4py) works with every MPI. For Open MPI 4, "cluster" in its place needs no mpi4py.
count=$1
shift
exec mpirun -n "$count" "$@" python "$(dirname "$0")/solve.py" mpi4py
