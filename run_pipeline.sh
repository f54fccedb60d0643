#!/usr/bin/env bash
# Data, teacher's traces, vetting, distilling, internalizing, measuring, report. What is done is
# skipped, so the same command goes on after an interruption. Settings as for `unspoken run`:
#   ./run_pipeline.sh data.num_train=10000 distil.epochs=5
#   RECIPE=recipes/think-qwen3.yaml ./run_pipeline.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -z "${UNSPOKEN:-}" ]; then UNSPOKEN=unspoken; [ -x .venv/bin/unspoken ] && UNSPOKEN=.venv/bin/unspoken; fi
exec "$UNSPOKEN" run "${RECIPE:-recipes/distill-qwen.yaml}" "$@"
