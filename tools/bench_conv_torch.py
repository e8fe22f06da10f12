#!/usr/bin/env python3
"""The table of `brainage bench conv` by PyTorch on the CPU, alone or side by side with brainage.

    python3 -m venv /tmp/torch-venv && /tmp/torch-venv/bin/pip install torch numpy
    /tmp/torch-venv/bin/python tools/bench_conv_torch.py --threads 2
    /tmp/torch-venv/bin/python tools/bench_conv_torch.py --brainage target/release/brainage --rounds 3

The second form runs both in turns, network after network, and prints a Markdown table: docs/performance.md has one.

Shapes, counted operations and the rules of repetition are those of src/bench/conv_shapes.rs and src/bench/timing.rs; images
are convolved with conv2d, volumes with conv3d, all in PyTorch's default layout and without bias. The network is the
published brain CNN with its loss, dropout, gradient clipping and AdamW: configs/brain-cnn.toml.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# Threads that spin while they wait lose whole time slices wherever anything else runs: tens of milliseconds a convolution.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402
from torch import nn  # noqa: E402

# What `brainage bench conv --shapes` takes, with the networks that it measures.
SHAPES = {
    "small": ["brain-cnn-small"],
    "brain-cnn": ["brain-cnn", "brain-cnn-small"],
    "resnet50-cifar": ["resnet50-cifar"],
    "resnet50-imagenet": ["resnet50-imagenet"],
}
PASSES = ["forward", "input-gradient", "weight-gradient"]
# Network: sides of the volumes, batch, channels, kernel, padding, dropout of each stage, width and dropout of the head.
BRAINS = {
    "brain-cnn": ((128, 128, 128), 1, (16, 32, 64, 128), 6, 0, (0.0, 0.2, 0.2, 0.2), 128, 0.3),
    "brain-cnn-small": ((48, 56, 48), 4, (8, 16, 32, 64), 3, 1, (0.0, 0.05, 0.05, 0.05), 64, 0.1),
}
BATCH_NORM = {"brain-cnn": 0.01, "brain-cnn-small": 0.1}  # PyTorch's momentum is what a step adds


class Shape:
    """One convolution of a network."""

    def __init__(self, batch, channels, sides, kernel, stride, padding):
        self.key = (batch, channels, tuple(sides), kernel, stride, padding)
        self.batch, self.channels, self.sides = batch, channels, tuple(sides)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.count = 1

    @property
    def outputs(self):
        return [(n + 2 * self.padding - self.kernel) // self.stride + 1 for n in self.sides]

    @property
    def gflop(self):
        """Operations of a direct convolution, 10^9; the same in all passes."""
        products = self.batch * self.channels[0] * self.channels[1] * self.kernel ** len(self.sides)
        for side in self.outputs:
            products *= side
        return 2e-9 * products

    @property
    def name(self):
        alike = len(set(self.sides)) == 1
        power = "²" if len(self.sides) == 2 else "³"
        sides = f"{self.sides[0]}{power}" if alike else "×".join(map(str, self.sides))
        stride = "" if self.stride == 1 else f" s{self.stride}"
        return f"{self.channels[0]}→{self.channels[1]} {sides} k{self.kernel}{stride}"

    def runs(self):
        """What computes each pass."""
        n = len(self.sides)
        x = torch.rand([self.batch, self.channels[0], *self.sides]) * 2 - 1
        w = torch.rand([self.channels[1], self.channels[0]] + [self.kernel] * n) * 2 - 1
        g = torch.rand([self.batch, self.channels[1], *self.outputs]) * 2 - 1
        stride, padding = [self.stride] * n, [self.padding] * n
        convolve = torch.conv2d if n == 2 else torch.conv3d

        def backward(of_input, of_weight):
            return torch.ops.aten.convolution_backward(
                g, x, w, None, stride, padding, [1] * n, False, [0] * n, 1, [of_input, of_weight, False]
            )

        return {
            "forward": lambda: convolve(x, w, None, stride, padding),
            "input-gradient": lambda: backward(True, False),
            "weight-gradient": lambda: backward(False, True),
        }


def brain_cnn(name):
    sides, batch, all_channels, kernel, padding, *_ = BRAINS[name]
    shapes, channels = [], 1
    for out_channels in all_channels:
        shapes.append(Shape(batch, (channels, out_channels), sides, kernel, 1, padding))
        sides = [side // 2 for side in shapes[-1].outputs]
        channels = out_channels
    return shapes


def resnet50(batch, stem, side):
    shapes = {}

    def add(channels, side, kernel, stride):
        shape = Shape(batch, channels, (side, side), kernel, stride, kernel // 2)
        if shape.key in shapes:
            shapes[shape.key].count += 1
        else:
            shapes[shape.key] = shape

    add(*stem)
    channels = 64
    for n_blocks, width, first_stride in [(3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)]:
        for block in range(n_blocks):
            stride = first_stride if block == 0 else 1
            add((channels, width), side, 1, 1)
            add((width, width), side, 3, stride)
            if block == 0:
                add((channels, 4 * width), side, 1, stride)
            side //= stride
            channels = 4 * width
            add((width, channels), side, 1, 1)
    return list(shapes.values())


def shapes_of(name):
    if name in BRAINS:
        return brain_cnn(name)
    if name == "resnet50-cifar":
        return resnet50(8, ((3, 64), 32, 3, 1), 32)
    return resnet50(2, ((3, 64), 224, 7, 2), 56)


def times_of(run, repeats, at_least=0.02):
    """Seconds of several runs after one that does not count; few of those that take long, many of short ones."""
    at_most = 0.2 * repeats

    def clocked():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    warm_up = clocked()
    times = [warm_up] if warm_up >= at_most else []
    while sum(times) < at_most and (len(times) < repeats or sum(times) < at_least):
        times.append(clocked())
    return times


def spread(times):
    return {"seconds": statistics.median(times), "min": min(times), "max": max(times), "repeats": len(times)}


def convolution_rows(name, repeats):
    rows = []
    for shape in shapes_of(name):
        for of_pass, run in shape.runs().items():
            times = spread(times_of(run, repeats))
            speed = {"by": "torch", **times, "gflops": shape.gflop / times["min"]}
            rows.append({
                "network": name, "shape": shape.name, "count": shape.count, "batch": shape.batch,
                "pass": of_pass, "gflop": shape.gflop, "chosen": "torch", "speeds": [speed],
            })  # fmt: skip
    return rows


def brain_network(name):
    """Convolution → maximum of 2×2×2 → ReLU → batch normalization → dropout, then average, dense layer, age."""
    _, _, all_channels, kernel, padding, dropouts, hidden, dropout = BRAINS[name]
    layers, channels = [], 1
    for out_channels, of_stage in zip(all_channels, dropouts):
        layers += [
            nn.Conv3d(channels, out_channels, kernel, padding=padding),
            nn.MaxPool3d(2),
            nn.ReLU(),
            nn.BatchNorm3d(out_channels, eps=1e-3, momentum=BATCH_NORM[name]),
            nn.Dropout(of_stage),
        ]
        channels = out_channels
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, *head, nn.Linear(hidden, 1))


def network_rows(name, repeats):
    sides, batch, *_ = BRAINS[name]
    flops = [shape.gflop for shape in brain_cnn(name)]
    network = brain_network(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=1e-2)
    volumes, ages = torch.randn([batch, 1, *sides]), torch.randn([batch, 1])

    def forward():
        network.eval()
        with torch.inference_mode():
            network(volumes)

    def step():
        network.train()
        optimizer.zero_grad()
        nn.functional.l1_loss(network(volumes), ages).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    rows = []
    # Backprop asks for the gradient of every layer's weights, and of every input but the first.
    for what, run, gflop in [("forward", forward, sum(flops)), ("backprop, dense", step, 3 * sum(flops) - flops[0])]:
        run()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        rows.append({"network": name, "what": what, "batch": batch, "grid": list(sides), "gflop": gflop,
                     **spread(times), "gflops": gflop / min(times)})  # fmt: skip
    return rows


def measure(asked, repeats):
    names = SHAPES[asked]
    return {
        "convolutions": [row for name in names for row in convolution_rows(name, repeats)],
        "rows": [row for name in names if name in BRAINS for row in network_rows(name, repeats)],
    }


def print_alone(answer, peak):
    print("Shortest times in ms")
    for row in answer["convolutions"]:
        speed = row["speeds"][0]
        share = f"{100 * speed['gflops'] / peak:5.0f}%" if peak else ""
        print(
            f"{row['network']:<18} {row['shape']:<24}{row['count']:>2} {row['pass'].replace('-', ' '):<15}"
            f"{row['gflop']:>6.2f} {1e3 * speed['min']:>9.2f} {speed['gflops']:>7.1f} {share}"
        )
    for row in answer["rows"]:
        print(
            f"{row['network']}, batch {row['batch']}: {row['what']:<16} {row['gflop']:>7.2f} GFLOP, ms: median "
            f"{1e3 * row['seconds']:.1f}, min {1e3 * row['min']:.1f}, max {1e3 * row['max']:.1f}"
        )


class Merged:
    """Times of one thing over all rounds: shortest of all, median of the rounds' medians."""

    def __init__(self):
        self.shortest, self.medians = float("inf"), []

    def add(self, times):
        self.shortest = min(self.shortest, times["min"])
        self.medians.append(times["seconds"])

    def ms(self):
        return f"{1e3 * self.shortest:.2f} ({1e3 * statistics.median(self.medians):.2f})"


def side_by_side(arguments, asked):
    convolutions, networks, machine = {}, {}, None
    program = [arguments.brainage, "bench", "conv", "--json", "--quiet", f"--threads={arguments.threads}"]
    for shapes in asked:
        for _ in range(arguments.rounds):
            said = subprocess.run(
                [*program, f"--repeats={arguments.repeats}", f"--shapes={shapes}"],
                check=True, stdout=subprocess.PIPE,
            )  # fmt: skip
            ours = json.loads(said.stdout)
            machine = ours if machine is None or ours["peak_gflops"] > machine["peak_gflops"] else machine
            theirs = measure(shapes, arguments.repeats)
            for row in ours["convolutions"] + theirs["convolutions"]:
                key = (row["network"], row["shape"], row["pass"])
                entry = convolutions.setdefault(key, {"row": row})
                for speed in row["speeds"]:
                    if speed["by"] in ("burn", "torch", row["chosen"]):
                        by = speed["by"] if speed["by"] in ("burn", "torch") else "ours"
                        entry.setdefault(by, Merged()).add(speed)
            for by, rows in [("ours", ours["rows"]), ("torch", theirs["rows"])]:
                for row in rows:
                    entry = networks.setdefault((row["network"], row["what"]), {"row": row})
                    entry.setdefault(by, Merged()).add(row)
    return convolutions, networks, machine


def ratio(entry):
    if "ours" not in entry or "torch" not in entry:
        return ""
    return f"{entry['torch'].shortest / entry['ours'].shortest:.2f}×"


def print_side_by_side(convolutions, networks, machine):
    peak = machine["peak_gflops"]
    cpu = machine["machine"]
    print(
        f"{cpu['cpu']}, {cpu['cores']} cores, {machine['threads']} threads, FMA peak {peak:.0f} GFLOP/s, "
        f"PyTorch {torch.__version__}. Milliseconds: shortest (median).\n"
    )
    for name in dict.fromkeys(network for network, _, _ in convolutions):
        of_network = {key: entry for key, entry in convolutions.items() if key[0] == name}
        batch = next(iter(of_network.values()))["row"]["batch"]
        print(f"**{name}, batch {batch}**\n")
        print("| shape | × | pass | GFLOP | brainage | | GFLOP/s | of peak | Burn | PyTorch | faster by |")
        print("|---|--:|---|--:|--:|---|--:|--:|--:|--:|--:|")
        for (_, shape, of_pass), entry in of_network.items():
            if "ours" not in entry or "torch" not in entry:
                sys.exit(f"error: {name} {shape} {of_pass}: measured by one program only, expected the same shapes")
            row = entry["row"]
            gflops = row["gflop"] / entry["ours"].shortest
            burn = entry["burn"].ms() if "burn" in entry else ""
            print(
                f"| {shape} | {row['count']} | {of_pass.replace('-', ' ')} | {row['gflop']:.2f} | {entry['ours'].ms()} "
                f"| {row['chosen']} | {gflops:.0f} | {100 * gflops / peak:.0f}% | {burn} | {entry['torch'].ms()} "
                f"| {ratio(entry)} |"
            )
        for of_pass in PASSES:
            entries = [entry for key, entry in of_network.items() if key[2] == of_pass]
            sums = {
                by: sum(entry["row"]["count"] * entry[by].shortest for entry in entries) for by in ("ours", "torch")
            }
            gflop = sum(entry["row"]["count"] * entry["row"]["gflop"] for entry in entries)
            count = sum(entry["row"]["count"] for entry in entries)
            gflops = gflop / sums["ours"]
            print(
                f"| **all** | {count} | {of_pass.replace('-', ' ')} | {gflop:.2f} | {1e3 * sums['ours']:.1f} | "
                f"| {gflops:.0f} | {100 * gflops / peak:.0f}% | | {1e3 * sums['torch']:.1f} "
                f"| {sums['torch'] / sums['ours']:.2f}× |"
            )
        print()
    if networks:
        print("**Whole networks**\n")
        print("| network | batch | what | GFLOP | brainage | PyTorch | faster by |")
        print("|---|--:|---|--:|--:|--:|--:|")
    for (name, what), entry in networks.items():
        row = entry["row"]
        # PyTorch has one kind of training step; ours of every kind are compared with it.
        rival = networks.get((name, "forward" if what == "forward" else "backprop, dense"), {}).get("torch")
        print(
            f"| {name} | {row['batch']} | {what} | {row['gflop']:.1f} | {entry['ours'].ms()} | {rival.ms()} "
            f"| {rival.shortest / entry['ours'].shortest:.2f}× |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; default 3")
    parser.add_argument("--shapes", choices=[*SHAPES, "all"], default="all", help="as of `brainage bench conv`")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--peak", type=float, help="GFLOP/s as `brainage bench conv` measures them, for shares of it")
    parser.add_argument("--brainage", metavar="PATH", help="the program, to be measured in turns with PyTorch")
    parser.add_argument("--rounds", type=int, default=3, help="turns with --brainage; default 3")
    arguments = parser.parse_args()
    if arguments.brainage and arguments.json:
        parser.error("--json is for PyTorch alone: `brainage bench conv --json` prints the other half")
    torch.set_num_threads(arguments.threads)
    asked = [name for name in SHAPES if name != "small"] if arguments.shapes == "all" else [arguments.shapes]
    if arguments.brainage:
        print_side_by_side(*side_by_side(arguments, asked))
        return
    answers = [measure(name, arguments.repeats) for name in asked]
    answer = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "convolutions": [row for part in answers for row in part["convolutions"]],
        "rows": [row for part in answers for row in part["rows"]],
    }
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print(f"PyTorch {answer['torch']}, {answer['threads']} threads")
        print_alone(answer, arguments.peak)


if __name__ == "__main__":
    main()
