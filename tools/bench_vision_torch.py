#!/usr/bin/env python3
"""The figures of `brainage bench vision` by PyTorch on the CPU, alone or side by side with brainage.

    python3 -m venv /tmp/torch-venv && /tmp/torch-venv/bin/pip install torch torchvision numpy
    /tmp/torch-venv/bin/python tools/bench_vision_torch.py
    /tmp/torch-venv/bin/python tools/bench_vision_torch.py --brainage target/release/brainage --rounds 3

The second form runs both in turns, network after network, and prints a Markdown table: docs/performance.md has one.

ResNet-50 is torchvision's with a stem of one 3×3 convolution and no pooling. ViT-Ti is written out as the program has it:
patches of 4×4 of 32×32 pixels, a class token, twelve layers of 192 channels and three heads, normalization before attention
and MLP, a linear layer on the class token. Attention is PyTorch's fused one (`scaled_dot_product_attention`), q, k and v come
from one matrix. A training step is cross-entropy, gradients, clipping to a norm of 1 and AdamW (the fused one, which is
PyTorch's fastest) on made-up images; the rules of repetition are those of src/bench/timing.rs: one round that does not count,
then --repeats. With --data, a DataLoader of as many worker processes as threads decodes JPEG files with Pillow, shifts and
mirrors them and makes batches of them, as the program does.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

# See tools/bench_conv_torch.py: threads that spin lose whole time slices wherever anything else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402
from torch import nn  # noqa: E402

NETWORKS = ["resnet50", "vit-ti"]
SIDE, CLASSES = 32, 10
MEAN, SD = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)


class EncoderLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens):
        batch, n, width = tokens.shape
        qkv = self.qkv(self.before_attention(tokens)).reshape(batch, n, 3, self.heads, -1)
        attended = nn.functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        tokens = tokens + self.output(attended.transpose(1, 2).reshape(batch, n, width))
        return tokens + self.mlp(self.before_mlp(tokens))


class VisionTransformer(nn.Module):
    def __init__(self, width=192, heads=3, layers=12, patch=4):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + (SIDE // patch) ** 2, width))
        self.layers = nn.Sequential(*(EncoderLayer(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, CLASSES)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], 1) + self.position
        return self.head(self.norm(self.layers(tokens))[:, 0])


def resnet50():
    from torchvision.models import resnet50 as published

    network = published(num_classes=CLASSES)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def network_rows(name, arguments):
    torch.manual_seed(1)
    network = resnet50() if name == "resnet50" else VisionTransformer()
    if arguments.channels_last:
        network = network.to(memory_format=torch.channels_last)

    def images(n):
        made_up = torch.randn([n, 3, SIDE, SIDE])
        return made_up.to(memory_format=torch.channels_last) if arguments.channels_last else made_up

    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=1e-2, fused=True)
    training, shown = images(arguments.batch), images(arguments.eval_batch)
    classes = torch.arange(arguments.batch) % CLASSES

    def step():
        network.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(training), classes).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    def inference():
        network.eval()
        with torch.inference_mode():
            network(shown).argmax(1)

    kinds = [("step", "training step", arguments.batch, step), ("inference", "inference", arguments.eval_batch, inference)]
    times = [[] for _ in kinds]
    for number in range(1 + arguments.repeats):
        for (_, _, _, run), column in zip(kinds, times):
            start = time.perf_counter()
            run()
            if number > 0:
                column.append(time.perf_counter() - start)
    return [
        {"name": f"{name}/{does}", "network": name, "what": what, "batch": batch, **spread(column, batch)}
        for (does, what, batch, _), column in zip(kinds, times)
    ]


def spread(times, images):
    median = statistics.median(times)
    return {
        "seconds": median, "min": min(times), "max": max(times), "repeats": len(times),
        "images_per_second": images / median,
    }  # fmt: skip


class Files(torch.utils.data.Dataset):
    """JPEG files of a training folder, `n` in all: again and again where fewer are there."""

    def __init__(self, root, n):
        from torchvision import transforms

        self.paths = sorted(Path(root, "train").rglob("*.JPEG"))
        self.n = n
        self.change = transforms.Compose([
            transforms.RandomCrop(64, padding=4), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(MEAN, SD),
        ])  # fmt: skip

    def __len__(self):
        return self.n

    def __getitem__(self, number):
        from PIL import Image

        return self.change(Image.open(self.paths[number % len(self.paths)]).convert("RGB"))


def loading_rows(arguments):
    if not arguments.data:
        return []
    files = Files(arguments.data, arguments.images)
    loader = torch.utils.data.DataLoader(
        files, arguments.batch, shuffle=True, num_workers=arguments.threads, persistent_workers=True
    )
    times = []
    for number in range(1 + arguments.repeats):
        start = time.perf_counter()
        for _ in loader:
            pass
        if number > 0:
            times.append(time.perf_counter() - start)
    return [{"name": "tiny-imagenet/loading", "images": len(files), **spread(times, len(files))}]


def print_alone(rows):
    for row in rows:
        print(
            f"{row['name']:<24} ms: median {1e3 * row['seconds']:9.1f}, min {1e3 * row['min']:9.1f}, "
            f"max {1e3 * row['max']:9.1f}; {row['images_per_second']:8.0f} images/s"
        )


def side_by_side(arguments):
    """Medians and shortest times of each thing by each program, round after round."""
    found, machine = {}, None
    common = ["--json", "--quiet", f"--repeats={arguments.repeats}", f"--batch={arguments.batch}"]
    program = [arguments.brainage, "bench", "vision", *common, f"--eval-batch={arguments.eval_batch}"]
    parts = [(name, [f"--networks={name}", f"--threads={arguments.threads}"]) for name in arguments.networks]
    if arguments.data:
        parts.append(("loading", ["--no-networks", f"--data={arguments.data}", f"--images={arguments.images}"]))
    for part, options in parts:
        for _ in range(arguments.rounds):
            said = json.loads(subprocess.run([*program, *options], check=True, stdout=subprocess.PIPE).stdout)
            machine = said
            theirs = loading_rows(arguments) if part == "loading" else network_rows(part, arguments)
            for by, rows in [("ours", said["rows"] + said["loading"]), ("torch", theirs)]:
                for row in rows:
                    found.setdefault(row["name"], {}).setdefault(by, []).append(row)
    return found, machine


def print_side_by_side(found, machine):
    print(
        f"{machine['machine']['cpu']}, {machine['machine']['cores']} cores, {machine['threads']} threads, "
        f"PyTorch {torch.__version__}. Milliseconds: median of the rounds' medians (shortest of all).\n"
    )
    print("| | images | brainage | images/s | PyTorch | images/s | faster by | rounds |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for name, by in found.items():
        images = by["ours"][0].get("images", by["ours"][0]["batch"])
        medians = {who: statistics.median(row["seconds"] for row in rows) for who, rows in by.items()}
        cells = {
            who: f"{1e3 * medians[who]:.1f} ({1e3 * min(row['min'] for row in rows):.1f}) "
            f"| {statistics.median(row['images_per_second'] for row in rows):.0f}"
            for who, rows in by.items()
        }
        rounds = ", ".join(f"{theirs['seconds'] / ours['seconds']:.2f}" for ours, theirs in zip(by["ours"], by["torch"]))
        ratio = medians["torch"] / medians["ours"]
        print(f"| {name} | {images} | {cells['ours']} | {cells['torch']} | {ratio:.2f}× | {rounds} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement; default 5")
    parser.add_argument("--networks", type=lambda text: text.split(",") if text else [], default=NETWORKS)
    parser.add_argument("--batch", type=int, default=32, help="images of a training step")
    parser.add_argument("--eval-batch", type=int, default=128, help="images that are classified at once")
    parser.add_argument("--data", help="folder of Tiny ImageNet, or of a part of it, whose loading is measured")
    parser.add_argument("--images", type=int, default=4000, help="images that are loaded each time")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch's other order in memory")
    parser.add_argument("--brainage", metavar="PATH", help="the program, to be measured in turns with PyTorch")
    parser.add_argument("--rounds", type=int, default=3, help="of both programs; default 3")
    parser.add_argument("--json", action="store_true", help="PyTorch's rows as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.brainage:
        print_side_by_side(*side_by_side(arguments))
        return
    rows = [row for name in arguments.networks for row in network_rows(name, arguments)] + loading_rows(arguments)
    if arguments.json:
        print(json.dumps({"rows": rows}))
    else:
        print_alone(rows)


if __name__ == "__main__":
    main()
