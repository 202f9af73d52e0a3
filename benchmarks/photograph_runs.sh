#!/bin/sh
# Methods before judges on photographs that you have: aligned faces and lists of pairs (name1,name2,same,fold).
# Usage: sh benchmarks/photograph_runs.sh MODEL OUT LFW_FOLDER LFW_PAIRS CFP_FOLDER CFP_FP_PAIRS
# MODEL has a decoder that was trained on other people: facexai train decoder --model M --images DIR --set epochs=5
set -eu
model=$1 out=$2 lfw=$3 lfw_pairs=$4 cfp=$5 cfp_pairs=$6

methods=ddfv,ddfv-paper,ddfv-gradient,max-pool,gradient,input-x-gradient,grad-cam,grad-cam++,stylianou,excitation-backprop,xssab
methods=$methods,random,centre,mean-map,edges,detail
mkdir -p "$out"
facexai localize patch --pairs "$lfw_pairs" --images "$lfw" --model "$model" --set partner=self \
    --limit 300 --methods $methods --json "$out/localize-patch.json"
facexai hiding-game pairs --pairs "$lfw_pairs" --images "$lfw" --model "$model" \
    --limit 500 --methods $methods --json "$out/hiding-game-lfw.json"
facexai hiding-game pairs --pairs "$cfp_pairs" --images "$cfp" --model "$model" \
    --limit 500 --methods $methods --json "$out/hiding-game-cfp-fp.json"
facexai insertion-deletion pairs --pairs "$lfw_pairs" --images "$lfw" --model "$model" \
    --limit 200 --methods $methods --json "$out/insertion-deletion-lfw.json"
facexai sanity pairs --pairs "$lfw_pairs" --images "$lfw" --model "$model" \
    --limit 12 --methods $methods --json "$out/sanity-lfw.json"
