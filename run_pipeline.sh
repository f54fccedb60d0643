#!/usr/bin/env bash
# Data, teacher's traces, vetting, distilling, internalizing, measuring, report. What is done is
# skipped, so the same command goes on after an interruption. Settings as for `tacit run`:
#   ./run_pipeline.sh data.num_train=10000 distil.epochs=5
#   RECIPE=recipes/think-qwen3.yaml ./run_pipeline.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [ -z "${TACIT:-}" ]; then TACIT=tacit; [ -x .venv/bin/tacit ] && TACIT=.venv/bin/tacit; fi
exec "$TACIT" run "${RECIPE:-recipes/distill-qwen.yaml}" "$@"
