"""Compares our N4 bias fields with SimpleITK's: on scans as they are, and with known fields multiplied onto them.

    python -m venv venv && venv/bin/pip install SimpleITK==2.5.7 nibabel
    cargo build --release -p brainage-pipelines --example preprocess_scan
    venv/bin/python tools/compare_n4.py --recipe configs/recipes/standard.toml --data DIR

DIR holds `mri/ixi/*-T1.nii.gz` and `mri/adult_1mm/*.nii.gz`. Both get the same mask (the one that our program writes
with the recipe `fast`), the same number of levels, threshold, histogram and a grid of about 4 mm. Printed are, inside the
mask, one line each:

  agreement  correlation of the two log fields, their standard deviations, and coefficients of variation of white matter
             before and after (a lower one is better)
  phantom    a picture of three classes and noise in the brain's shape, times a known field: standard deviation of
             (log field found - known), ours and SimpleITK's, and of the known one
  added      a known field on the scan itself: the same of (log field with - log field without - known)

Standard output is CSV; exit status 1 if an agreement falls below 0.95 or we leave more of a phantom's field than
SimpleITK does.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import nibabel as nib
import numpy as np
import SimpleITK as sitk

LEVELS, ITERATIONS, THRESHOLD, GRID_MM = 4, 50, 1e-3, 4.0


def known_fields(shape):
    """Smooth log fields over the field of view, by name."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return {
        "coil": 0.5 * np.exp(-((x - 0.6) ** 2 + (y - 0.5) ** 2 + (z - 0.4) ** 2) / 0.5),
        "quadratic": 0.3 * (x**2 - y * z + 0.5 * z),
        "waves": 0.15 * (np.cos(3 * x) + np.sin(2.5 * y + z)),
    }


def ours(program, recipe, scan, values, folder):
    """The log field that our program writes for `values` in the place of `scan`, and the brain mask."""
    path = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(values.astype(np.float32), scan.affine), path)
    out = folder / "out"
    subprocess.run([program, recipe, out, path], check=True, stdout=subprocess.DEVNULL)
    field = out / "scan_biasfield.nii.gz"
    mask = nib.load(out / "scan_brainmask.nii.gz").get_fdata() > 0.5
    return (np.log(nib.load(field).get_fdata()) if field.exists() else None), mask


def theirs(scan, values, mask):
    """SimpleITK's log field and its seconds."""
    sizes = scan.header.get_zooms()[:3]
    to_image = lambda array: sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image, inside = to_image(values.astype(np.float32)), to_image(mask.astype(np.uint8))
    for each in (image, inside):
        each.SetSpacing([float(size) for size in sizes])
    shrink = [max(1, round(GRID_MM / size)) for size in sizes]
    begin = time.time()
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([ITERATIONS] * LEVELS)
    n4.SetConvergenceThreshold(THRESHOLD)
    n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(inside, shrink))
    field = n4.GetLogBiasFieldAsImage(image)
    return sitk.GetArrayFromImage(field).T.astype(float), time.time() - begin


def three_classes(values, mask):
    """Mean values of three classes in the brain's shape, with noise of 4 %."""
    inside = values[mask]
    centers = np.percentile(inside, [10, 45, 85])
    for _ in range(20):
        nearest = np.abs(inside[:, None] - centers).argmin(1)
        centers = np.array([inside[nearest == k].mean() for k in range(3)])
    picture = np.zeros(values.shape)
    picture[mask] = np.array([45.0, 85.0, 120.0])[nearest]
    noise = np.random.default_rng(0).normal(0, 4, values.shape)
    return np.abs(picture + noise), mask & (picture == 120.0)


def deviation(log_field, mask):
    return log_field[mask].std()


def variation(values, white):
    return values[white].std() / values[white].mean()


def compare(program, recipe, path, folder):
    scan = nib.load(path)
    values = np.nan_to_num(scan.get_fdata())
    _, mask = ours(program, "fast", scan, values, folder)
    field, _ = ours(program, recipe, scan, values, folder)
    reference, seconds = theirs(scan, values, mask)
    correlation = np.corrcoef(field[mask], reference[mask])[0, 1]
    phantom, _ = three_classes(values / np.exp(field), mask)
    _, white = three_classes(values / np.exp(reference), mask)
    cv = [variation(values / np.exp(log), white) for log in (0 * field, field, reference)]
    row = [deviation(field, mask), deviation(reference, mask), correlation, *cv, seconds]
    yield "agreement", "", row
    for name, known in known_fields(values.shape).items():
        for kind, base in (("phantom", phantom), ("added", values)):
            bent = base * np.exp(known)
            # Ours registers the bent picture anew and takes its own mask from that: a few voxels differ from `mask`.
            found, _ = ours(program, recipe, scan, bent, folder)
            other, _ = theirs(scan, bent, mask)
            if kind == "added":
                found, other = found - field, other - reference
            row = [deviation(found - known, mask), deviation(other - known, mask), deviation(known, mask)]
            yield kind, name, row


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--recipe", default="standard")
    target = pathlib.Path(__file__).parent.parent / "target"
    arguments.add_argument("--program", default=target / "release/examples/preprocess_scan")
    given = arguments.parse_args()
    scans = sorted(given.data.glob("mri/ixi/*-T1.nii.gz")) + sorted(given.data.glob("mri/adult_1mm/*.nii.gz"))
    if not scans:
        sys.exit(f"no scans in {given.data}")
    good = True
    print("scan,kind,field,ours,simpleitk,known_or_correlation,cv_before,cv_ours,cv_simpleitk,seconds_simpleitk")
    for path in scans:
        with tempfile.TemporaryDirectory() as folder:
            for kind, name, row in compare(given.program, given.recipe, path, pathlib.Path(folder)):
                print(",".join([path.name, kind, name, *[f"{value:.4f}" for value in row]]), flush=True)
                good &= row[2] >= 0.95 if kind == "agreement" else kind != "phantom" or row[0] <= row[1]
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
