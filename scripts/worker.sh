#!/usr/bin/env bash
# What every worker of a run starts: `t5distill` or T5X, on one host, a TPU pod or a Slurm cluster.
#
#   scripts/worker.sh t5distill train --gin_file=gin/runs/train.gin ...
#   scripts/worker.sh t5x train --gin_file=gin/t5x/train.gin ...
#
# One process sees all GPUs or TPU chips of its host, so one host needs no more than this. Where the
# work is one of several (a TPU pod, Slurm with more than one task), the processes find each other.
# Every worker needs the same checkout, a Python with the packages, and the same view of the data
# directory, MODEL_DIR and vocabulary: a shared disk or gs:// addresses.
#
#   VENV             virtual environment to use (default: .venv of this checkout, where there is one)
#   T5X_PATH         where T5X, airio and jestimator lie (docs/t5x.md), for the engine t5x
#
# Exit code: of the launcher. 0 is done, 2 a mistake of yours, 75 and 128 and more a reason to start again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
engine=${1:-} command=${2:-}
case "$engine $command" in
  "t5distill train" | "t5distill infer" | "t5distill eval" | "t5x train" | "t5x infer" | "t5x eval") shift 2 ;;
  *)
    echo "worker.sh: wanted t5distill or t5x, then train, infer or eval; found '$engine $command'" >&2
    exit 2
    ;;
esac

venv=${VENV:-$here/.venv}
if [ -x "$venv/bin/python" ]; then
  PATH=$venv/bin:$PATH
elif [ -n "${VENV:-}" ]; then
  echo "worker.sh: VENV is $VENV, which has no bin/python" >&2
  exit 2
fi
export PYTHONPATH=$here${T5X_PATH:+:$T5X_PATH}${PYTHONPATH:+:$PYTHONPATH}
if ! why=$(python -c "import jax, $engine" 2>&1); then
  echo "worker.sh: $(uname -n): $(command -v python) cannot import jax and $engine: ${why##*$'\n'}" >&2
  if [ "$engine" = t5x ]; then
    echo "worker.sh: docs/t5x.md says how to install it; T5X_PATH names the checkouts" >&2
  else
    echo "worker.sh: pip install '$here[tpu]' or '$here[cuda]' on every worker" >&2
  fi
  exit 2
fi

# tpu_pod.py says how many workers a slice has; srun how many tasks a step.
several=
if [ "${T5DISTILL_WORKERS:-1}" -gt 1 ] || [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
  several=yes
fi
# JAX takes three quarters of a GPU's memory unless told otherwise.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.92}
cd "$here"
if [ "$engine" = t5distill ]; then
  exec python -m "t5distill.$command" ${several:+--multiprocess} "$@"
fi
set -- --gin_search_paths="$here" --alsologtostderr "$@"
if [ -n "$several" ]; then
  # Of T5X's launchers only train can join others by itself, and that by addresses.
  exec python -c "import runpy, jax; jax.distributed.initialize(); runpy.run_module('t5x.$command', run_name='__main__', alter_sys=True)" "$@"
fi
exec python -m "t5x.$command" "$@"
