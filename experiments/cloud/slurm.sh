#!/usr/bin/env bash
# The paper's model on a Slurm cluster: one node of 8 GPUs, or several.
#
# Once, on a machine with a network:   experiments/cloud/install.sh cuda13
# One node, one process:               sbatch experiments/cloud/slurm.sh
# Two nodes, a process for each GPU:   sbatch --nodes=2 --ntasks-per-node=8 --cpus-per-task=2 experiments/cloud/slurm.sh
#
# Several processes find each other: JAX reads Slurm's variables, the first node is the coordinator,
# and each process takes the GPU of its number on the node (SLURM_LOCALID). So every process has to
# see all GPUs of its node: no --gpus-per-task, no --gpu-bind.
#
# Cost, predicted, training only; $4.00 a GPU-hour is an assumption of 2026-11-23: check the price list.
#   one node:   (levelburst roofline --device h100 --data 8): 13.2 … 26.6 device-hours x $4.00 = $53 … $106
#   two nodes:  (levelburst roofline --device h100 --data 16): 13.3 … 30.9 device-hours x $4.00 = $53 … $124
# Time: these hours over the number of GPUs: 1.6 … 3.3 on one node, and about a quarter more for
# compiling and testing. FLOPs: 3.7e19 by `operations(config)`, 9 runs of 50,000 updates.
#
# Cut short (preempted, out of time), the job goes back into the queue and its finished cells count:
# a cell is one arm and seed, here a ninth of the work. What it was in the midst of is done again.
#SBATCH --job-name=levelburst
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --mem=0
#SBATCH --time=06:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output=levelburst-%j.log
set -euo pipefail

# Slurm runs a copy of this file: the checkout is where sbatch was called. It and the run's folder
# lie on a file system that all nodes share and that outlives the job.
cd "$SLURM_SUBMIT_DIR"
RUN=${RUN:-$PWD/runs/paper}
export PATH="$PWD/.venv/bin:$PATH"
devices=$((SLURM_JOB_NUM_NODES * SLURM_GPUS_ON_NODE))

several=()
if ((SLURM_NTASKS > 1)); then
    several=(--coordinator auto)
fi
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1 # two minutes before the time is up
if [[ -f "$RUN/config.json" ]]; then
    srun levelburst resume "$RUN" "${several[@]}" &
else
    srun levelburst compare --preset paper --data "$devices" --out "$RUN" "${several[@]}" &
fi
wait "$!"
