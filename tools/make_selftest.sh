#!/usr/bin/env bash
# Makes assets/selftest: the small model of `brainage doctor --selftest` and the numbers that must come out.
# Run it after a change that is meant to change numbers (synthetic heads, preprocessing, network), and say so in the commit.
#   tools/make_selftest.sh target/release/brainage
set -euo pipefail
brainage=$(realpath "${1:?path of the program}")
root=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$brainage" synth --layout bids --subjects 100 --spread 0.5 --ages 20,85 --seed 77 --out heads
printf '[cohorts.selftest]\nlayout = "bids"\nroot = "heads"\n' > brainage.toml
"$brainage" train --cohorts selftest --config "$root/configs/brain-cnn-small.toml" --out run --devices cpu \
    --set model.width=0.5 --set model.final_hidden=16 --set train.epochs=30 --set data.recipe=coarse
cp run/model.safetensors "$root/assets/selftest/model.safetensors"
"$brainage" doctor --selftest-model run/model.safetensors --json > answer.json
python3 - "$root/assets/selftest/expected.json" <<'PYTHON'
import json, sys
answer = json.load(open("answer.json"))
with open(sys.argv[1], "w") as out:
    json.dump(answer["selftest"], out, indent=2)
    out.write("\n")
PYTHON
cat "$root/assets/selftest/expected.json"
