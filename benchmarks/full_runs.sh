#!/bin/sh
# The reports behind the leaderboard: every method that fits the network, every judge. Takes hours on two cores.
# Usage: sh benchmarks/full_runs.sh [PAIRS [PAIRS_OF_SLOW_METHODS]]
set -eu
pairs=${1:-500}
few=${2:-60}
folder=facexai/results

methods=all
for slow in rise corr-rise lime occlusion min-plus smoothgrad integrated-gradients fggb excitation-backprop contrast; do
    methods=$methods,$slow@$few
done
facexai hiding-game synthetic-lfw --limit "$pairs" --methods "$methods" --json $folder/hiding-game-lfw.json
facexai hiding-game synthetic-cfp-fp --limit "$pairs" --methods "$methods" --json $folder/hiding-game-cfp-fp.json
facexai insertion-deletion synthetic-lfw --limit "$pairs" --methods "$methods" --json $folder/insertion-deletion-lfw.json
for preset in regions occluder patch; do
    facexai localize $preset --limit "$pairs" --methods "$methods" --json $folder/localize-$preset.json
done
facexai sanity synthetic-lfw --limit 100 --methods "$methods" --json $folder/sanity-lfw.json
python -m facexai.results $folder/*.json
