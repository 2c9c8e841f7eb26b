#!/bin/bash
# One process for each GPU, started by MPI: mpi.sh COUNT [options of mpirun, such as a list of hosts]
#
# mpi4py (pip install mpi4py) works with every MPI. With Open MPI 4, "cluster" works without mpi4py.
count=$1
shift
exec mpirun -n "$count" "$@" python "$(dirname "$0")/solve.py" mpi4py
