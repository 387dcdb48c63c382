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

# On a pod libtpu's metadata names every host; under Slurm JAX reads what srun sets.
several=
hosts=${TPU_WORKER_HOSTNAMES:-}
if [ "${SLURM_NTASKS:-1}" -gt 1 ] || [ "$hosts" != "${hosts/,/}" ]; then
  several=yes
fi
if [ "$engine" = t5x ]; then
  set -- --gin_search_paths="$here" --alsologtostderr "$@"
  # T5X's other launchers have no such flag: infer and eval run in one process, or on a TPU pod.
  if [ -n "$several" ] && [ -z "$hosts" ]; then
    if [ "$command" != train ]; then
      echo "worker.sh: t5x.$command cannot join processes; ask for one task, or use t5distill $command" >&2
      exit 2
    fi
    set -- --multiprocess_gpu "$@"
  fi
elif [ -n "$several" ]; then
  set -- --multiprocess "$@"
fi
cd "$here"
exec python -m "$engine.$command" "$@"
