"""Trains {dense, eigen} x {backprop, local} on one cohort with several seeds, and prints the table of docs/results.md.

    brainage synth --layout bids --subjects 320 --seed 11 --out heads
    printf '[cohorts.heads]\nlayout = "bids"\nroot = "heads"\n' > brainage.toml
    python tools/four_combinations.py --brainage target/release/brainage --seeds 1,2,3 --epochs 30 --out runs

Run it in the folder of the project file. One recipe for all: the same split, batches, augmentation, schedule and seeds;
nothing is chosen on the test set. Runs that exist are not made again, so it can be stopped and started. Runs share the
machine, --jobs at a time, each on one logical device; seconds are of runs that share it. Standard library only.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

COMBINATIONS = [("dense", "backprop"), ("eigen", "backprop"), ("dense", "local"), ("eigen", "local")]
METHODS = {
    ("dense", "backprop"): "plain backprop",
    ("eigen", "backprop"): "ENN",
    ("dense", "local"): "block-local, dense",
    ("eigen", "local"): "ENN-ℓ",
}


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = [(weights, regime, seed) for seed in args.seeds for weights, regime in COMBINATIONS]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda run: train(args, *run), runs))
    print(table(args))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brainage", default="brainage", help="the program")
    parser.add_argument("--config", help="training config; otherwise that of the project")
    parser.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--set", action="append", default=[], help="a change of the config, for all runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs"))
    return parser.parse_args()


def folder(args, weights, regime, seed):
    return args.out / f"{weights}-{regime}-{seed}"


def train(args, weights, regime, seed):
    run = folder(args, weights, regime, seed)
    if (run / "report.html").exists():
        return
    if (run / "config.toml").exists():
        command = [args.brainage, "train", "--resume", str(run)]
    else:
        command = [args.brainage, "train", "--out", str(run), "--epochs", str(args.epochs)]
        command += ["--config", args.config] if args.config else []
        own = [f"model.weights={weights}", f"train.regime={regime}", f"train.seed={seed}"]
        for change in args.set + own:
            command += ["--set", change]
    command += ["--devices", "cpu:0"]
    with open(f"{run}.log", "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    print(time.strftime("%H:%M:%S"), run, flush=True)


def table(args):
    lines = [
        "| weights | regime | method | MAE, years | by seed | MAE of the blocks | r | baseline | s a step | stored | inference |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for weights, regime in COMBINATIONS:
        runs = [folder(args, weights, regime, seed) for seed in args.seeds]
        evaluations = [json.loads((run / "evaluation.json").read_text()) for run in runs]
        maes = [e["mae"] for e in evaluations]
        correlations = [e["r"] for e in evaluations]
        baselines = [e["baseline_mae"] for e in evaluations]
        counts = parameters(args, runs[0])
        lines.append(
            f"| {weights} | {regime} | {METHODS[weights, regime]} | {spread(maes)} "
            f"| {' '.join(f'{mae:.2f}' for mae in maes)} | {block_errors(runs)} "
            f"| {statistics.mean(correlations):.2f} | {statistics.mean(baselines):.2f} "
            f"| {step_seconds(runs)} "
            f"| {counts['stored']:,} | {counts['composed'] - counts['auxiliary_heads']:,} |"
        )
    return "\n".join(lines)


def spread(values):
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


def events(run, kind):
    for line in (run / "metrics.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == kind:
            yield event


def block_errors(runs):
    """Mean over seeds of each head's error on the validation set after the last epoch."""
    last = [list(events(run, "validation"))[-1]["mae_years"] for run in runs]
    return " ".join(f"{statistics.mean(of_block):.2f}" for of_block in zip(*last))


def step_seconds(runs):
    """Median over epochs and seeds of the seconds of a step, as the logs tell them."""
    epochs = [event for run in runs for event in events(run, "epoch")]
    seconds = [epoch["seconds_per_step"] for epoch in epochs if epoch.get("seconds_per_step")]
    return f"{statistics.median(seconds):.3f}" if seconds else "–"


def parameters(args, run):
    answer = subprocess.run(
        [args.brainage, "model", "show", str(run / "model.safetensors"), "--json"],
        check=True, capture_output=True, text=True,
    )
    return json.loads(answer.stdout)["parameters"]


if __name__ == "__main__":
    main()
