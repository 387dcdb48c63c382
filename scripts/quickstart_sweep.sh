#!/usr/bin/env bash
# Chooses the learning rate of each quickstart arm on validation, never on test.
#
#   scripts/quickstart_sweep.sh runs/quickstart "5e-3 1e-2 2e-2 3e-2" 1500
#
# The first argument is a --workdir that `t5distill quickstart` has filled; 1500 is TRAIN_STEPS.
set -euo pipefail
work=$(realpath "$1")
rates=${2:-"5e-3 1e-2 2e-2 3e-2"}
steps=${3:-1500}
export T5DISTILL_DATA_DIR=$work/data
for arm in answer cot; do
  for rate in $rates; do
    dir=$work/sweep/$arm-$rate
    gin=(--gin_file=gin/models/tiny.gin "--gin_file=gin/recipes/quickstart_$arm.gin"
      "--gin.VOCAB_PATH='$work/vocabulary.model'")
    t5distill train --gin_file=gin/runs/train.gin "${gin[@]}" "--gin.MODEL_DIR='$dir'" \
      "--gin.LEARNING_RATE=$rate" "--gin.TRAIN_STEPS=$steps" >/dev/null
    t5distill eval --gin_file=gin/runs/eval.gin "${gin[@]}" "--gin.CHECKPOINT_PATH='$dir'" \
      "--gin.EVAL_OUTPUT_DIR='$dir/validation'" "--gin.EVAL_SPLIT='validation'" |
      sed -n "s/^accuracy/$arm, learning rate $rate: accuracy/p"
  done
done
