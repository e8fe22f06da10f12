#!/usr/bin/env python3
"""Compares the brain masks of brainage with those of the original deepbet, and with label maps where there are some.

    python3 -m venv venv && venv/bin/pip install deepbet==1.0.2        (brings PyTorch)
    cargo run --release -p brainage-pipelines --example preprocess_scan -- learned.toml OURS SCAN...
    venv/bin/python tools/compare_deepbet.py OURS SCAN...

learned.toml is a recipe with mask.source = "learned". For SCAN = STEM.nii.gz the mask is OURS/STEM_brainmask.nii.gz; where
STEM ends in T1, the label map is STEM with DLMUSE in its place, beside the scan. Prints Dice, and fails if one against deepbet
is below 0.995.
"""
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from deepbet import BrainExtraction

LEAST = 0.995


def main(ours, scans):
    deepbet = BrainExtraction(no_gpu=True)
    found = []
    for scan in map(Path, scans):
        stem = scan.name.removesuffix(".gz").removesuffix(".nii")
        mine = inside(Path(ours) / f"{stem}_brainmask.nii.gz")
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/mask.nii.gz"
            deepbet.run(str(scan), mask_path=path)
            original = inside(path)
        found.append(dice(mine, original))
        labels = scan.with_name(scan.name.replace("T1", "DLMUSE"))
        line = f"{stem}: Dice {found[-1]:.5f}, {np.sum(mine != original)} voxels differ"
        if labels != scan and labels.exists():
            brain = inside(labels)
            line += f"; with the label map {dice(mine, brain):.4f}, of deepbet {dice(original, brain):.4f}"
        print(line, flush=True)
    return min(found) >= LEAST


def inside(path):
    return nib.load(path).get_fdata() > 0.5


def dice(a, b):
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1], sys.argv[2:]) else 1)
