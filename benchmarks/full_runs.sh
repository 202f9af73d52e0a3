#!/bin/sh
# The reports behind the leaderboard: methods before judges, on rendered faces. Takes hours on two cores.
# Usage: sh benchmarks/full_runs.sh [PAIRS [PAIRS_OF_SLOW_METHODS]]
set -eu
pairs=${1:-500}
few=${2:-60}
folder=facexai/results

methods=all
for slow in rise corr-rise lime occlusion min-plus smoothgrad integrated-gradients fggb contrast; do
    methods=$methods,$slow@$few
done
mkdir -p $folder/methods $folder/ablation
for preset in regions occluder patch; do
    facexai localize $preset --limit "$pairs" --methods "$methods" --json $folder/methods/localize-$preset.json
done
facexai hiding-game synthetic-lfw --limit "$pairs" --methods "$methods" --json $folder/methods/hiding-game-lfw.json
facexai hiding-game synthetic-cfp-fp --limit "$pairs" --methods "$methods" --json $folder/methods/hiding-game-cfp-fp.json
facexai insertion-deletion synthetic-lfw --limit "$pairs" --methods "$methods" --json $folder/methods/insertion-deletion-lfw.json
facexai sanity synthetic-lfw --limit 100 --methods "$methods" --json $folder/methods/sanity-lfw.json

# ddfv step by step: as printed with T = 0, missing channels left out, drawn where the partner has them, in balance
# (that is ddfv); then what else was tried.
printed=ddfv:weight=product:missing=own:balance=false
steps=ddfv-paper,$printed,ddfv:missing=skip:balance=false,ddfv:balance=false,ddfv,ddfv-gradient
others=max-pool,ddfv:missing=own,ddfv:weight=ablation,ddfv:weight=ablation:missing=own:balance=false
others=$others,ddfv:weight=first-order,ddfv:residual=none
for preset in regions occluder patch; do
    facexai localize $preset --limit 100 --methods $steps,$others --json $folder/ablation/localize-$preset.json
done
python -m facexai.results $folder/methods/*.json $folder/ablation/*.json
