#!/bin/sh
# The reports behind the leaderboard: every method that fits the network, every judge. Takes hours on two cores.
# Usage: sh benchmarks/full_runs.sh [PAIRS]
set -eu
pairs=${1:-500}
folder=facexai/results

facexai hiding-game synthetic-lfw --limit "$pairs" --json $folder/hiding-game-lfw.json
facexai hiding-game synthetic-cfp-fp --limit "$pairs" --json $folder/hiding-game-cfp-fp.json
facexai insertion-deletion synthetic-lfw --limit "$pairs" --json $folder/insertion-deletion-lfw.json
for preset in regions occluder patch; do
    facexai localize $preset --limit "$pairs" --json $folder/localize-$preset.json
done
facexai sanity synthetic-lfw --limit 100 --json $folder/sanity-lfw.json
python -m facexai.results $folder/*.json
