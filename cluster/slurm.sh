#!/usr/bin/env bash
# A sweep on whole Slurm nodes:  sbatch cluster/slurm.sh --store "$SCRATCH/runs/sweep" --root "$SCRATCH/data"
# What follows the script's name goes to studies/scope_sweep.py. Submitted again, or requeued by Slurm, it goes on where
# it stopped. The environment is .venv (`make setup`) on a file system that all nodes see; so is the home folder
# with the token (`.venv/bin/ray get-auth-token --generate`, once).
#SBATCH --job-name=sefar
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=sefar-%j.log
# five minutes before the end: the sweep stops as by Ctrl-C, finished epochs are in the store
#SBATCH --signal=TERM@300
set -euo pipefail

root=${SEFAR_ROOT:-$SLURM_SUBMIT_DIR}
export PATH="$root/.venv/bin:$PATH"
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600 # nodes read the environment from a slow disk
export PYTHONUNBUFFERED=1
unset RAY_ADDRESS

if [[ ! -s $RAY_AUTH_TOKEN_PATH ]]; then
    echo "error: $RAY_AUTH_TOKEN_PATH: no token; make one with 'ray get-auth-token --generate'" >&2
    exit 2
fi

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | awk 'NR == 1')
# the first address that is not of the loopback: symmetric-run compares it with those of each node
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head_node" hostname --all-ip-addresses | awk 'NR == 1 { print $1 }')
port=$((20000 + SLURM_JOB_ID % 10000)) # jobs of one user may share a node

cd "$root"
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --kill-on-bad-exit=0 \
    ray symmetric-run --address "$head_ip:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=500000000 \
    --disable-usage-stats -- \
    python studies/scope_sweep.py --address auto "$@"
