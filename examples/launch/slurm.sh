#!/bin/bash
# One process for each GPU of two nodes with four GPUs each: sbatch slurm.sh
#
# JAX reads the number of processes, the process id and the coordinator's address from SLURM's variables.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=00:10:00

srun python "$SLURM_SUBMIT_DIR/solve.py" cluster
