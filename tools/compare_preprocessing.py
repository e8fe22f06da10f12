"""Preprocesses the same scans with brainage, SimpleITK, ANTs and niimath, in one run, and prints one table.

    python -m venv venv && venv/bin/pip install SimpleITK==2.5.7 nibabel antspyx niimath
    cargo build --release
    venv/bin/python tools/compare_preprocessing.py --data DIR --threads 2

DIR holds `mri/ixi/*-T1.nii.gz` with their label maps `*-DLMUSE.nii.gz`, and `mri/adult_1mm/*.nii.gz`. antspyx and niimath are
left out where they are not installed.

  N4      all tools get the mask of our recipe `fast`, 4 levels of 50 iterations at most, and a grid of about 4 mm. Correlation of
          the log fields is with SimpleITK's, inside the mask.
  affine  12 degrees of freedom from the scan to our template (`assets/`), each tool's own standard way. Dice is between the
          template's brain mask, carried to the scan by the affine that was found, and label map > 0.

Seconds are wall clock and, in parentheses, of the processor, medians over the scans. Ours are the stages `register` and
`prepare` of `brainage bench preprocess --recipe standard`; `prepare` refines the brain mask as well. niimath's hold start,
reading and writing, the others' do not. `whole` is all of `brainage preprocess` for one scan: start, reading, N4, mask,
affine, resampling, quality control, cache.

Exit status 1 if a correlation of ours falls below 0.95.
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
T1 = ROOT / "assets/mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz"
MASK = ROOT / "assets/mni_icbm152_t1_tal_nlin_sym_09c_mask.nii.gz"
LEVELS, ITERATIONS, THRESHOLD, GRID_MM = 4, 50, 1e-3, 4.0


class Watch:
    """Wall and processor seconds, those of finished child processes included."""

    def __enter__(self):
        self.begin = time.time(), self.processor()
        return self

    def __exit__(self, *_):
        self.wall, self.cpu = time.time() - self.begin[0], self.processor() - self.begin[1]

    @staticmethod
    def processor():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


class Ours:
    """What `brainage` makes of one scan, and how long it takes."""

    def __init__(self, program, path, folder):
        jobs = ("--jobs", "1", "--cache", folder / "cache")
        run(program, "preprocess", path, "--recipe", "fast", "--out", folder / "fast", *jobs)
        run(program, "preprocess", path, "--recipe", "standard", "--out", folder / "standard", *jobs)
        stem = path.name.removesuffix(".nii.gz")
        self.mask_path = folder / "fast" / f"{stem}_brainmask.nii.gz"
        self.field_path = folder / "standard" / f"{stem}_biasfield.nii.gz"
        self.mni_from_scan = np.loadtxt(folder / "fast" / f"{stem}_affine.txt")
        answer = json.loads(run(program, "bench", "preprocess", path, "--recipe", "standard", "--repeats", "3", "--json"))
        self.seconds = {row["what"]: row["seconds"] for row in answer["rows"]}
        with Watch() as self.whole:
            run(program, "preprocess", path, "--recipe", "standard", "--jobs", "1", "--cache", folder / "fresh")


def log_field_simpleitk(scan, mask, threads):
    shrink = [max(1, round(GRID_MM / size)) for size in scan.GetSpacing()]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(threads)
    n4.SetMaximumNumberOfIterations([ITERATIONS] * LEVELS)
    n4.SetConvergenceThreshold(THRESHOLD)
    with Watch() as watch:
        n4.Execute(sitk.Shrink(scan, shrink), sitk.Shrink(mask, shrink))
        field = n4.GetLogBiasFieldAsImage(scan)
    return sitk.GetArrayFromImage(field).T, watch


def log_field_ants(path, mask_path, shrink):
    scan, mask = ants.image_read(str(path)), ants.image_read(str(mask_path))
    convergence = {"iters": [ITERATIONS] * LEVELS, "tol": THRESHOLD}
    with Watch() as watch:
        field = ants.n4_bias_field_correction(
            scan, mask=mask, shrink_factor=shrink, convergence=convergence, return_bias_field=True
        )
    return np.log(field.numpy()), watch


def log_field_niimath(path, mask_path, shrink, folder):
    field = folder / "niimath_field.nii.gz"
    settings = ("-shrink", shrink, "-iter", "x".join([str(ITERATIONS)] * LEVELS), "-convergence", THRESHOLD)
    with Watch() as watch:
        run(niimath, path, "-n4", "-mask", mask_path, *settings, "-field", field, folder / "niimath_n4.nii.gz")
    return np.log(nib.load(field).get_fdata()), watch


def ras_from_lps(linear, translation):
    """A map between ITK's worlds (left, posterior, superior) as one between ours (right, anterior, superior)."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, translation
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ affine @ flip


def scan_from_mni_simpleitk(scan, template, threads):
    registration = sitk.ImageRegistrationMethod()
    registration.SetNumberOfThreads(threads)
    registration.SetMetricAsMattesMutualInformation(50)
    registration.SetMetricSamplingStrategy(registration.RANDOM)
    registration.SetMetricSamplingPercentage(0.2, 1)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetOptimizerAsGradientDescent(1.0, 200, 1e-6, 10)
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetShrinkFactorsPerLevel([4, 2, 1])
    registration.SetSmoothingSigmasPerLevel([2, 1, 0])
    start = sitk.CenteredTransformInitializer(
        template, scan, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    registration.SetInitialTransform(start, inPlace=False)
    with Watch() as watch:
        found = registration.Execute(template, scan)
    found = sitk.AffineTransform(sitk.CompositeTransform(found).GetBackTransform())
    linear = np.array(found.GetMatrix()).reshape(3, 3)
    center, shift = np.array(found.GetCenter()), np.array(found.GetTranslation())
    return ras_from_lps(linear, shift + center - linear @ center), watch


def scan_from_mni_ants(path):
    template, scan = ants.image_read(str(T1)), ants.image_read(str(path))
    with Watch() as watch:
        found = ants.registration(template, scan, type_of_transform="Affine", random_seed=1)
    found = ants.read_transform(found["fwdtransforms"][0])
    numbers, center = np.array(found.parameters), np.array(found.fixed_parameters)
    linear = numbers[:9].reshape(3, 3)
    return ras_from_lps(linear, numbers[9:] + center - linear @ center), watch


def scan_from_mni_niimath(path, folder):
    saved = folder / "niimath.json"
    with Watch() as watch:
        run(niimath, path, "-allineate", T1, "-savemat", saved, folder / "niimath_mni.nii.gz")
    return matrix_in(json.loads(saved.read_text())), watch


def matrix_in(saved):
    """The first 3×4 or 4×4 matrix in an answer of niimath."""
    if isinstance(saved, dict):
        found = (matrix_in(value) for value in saved.values())
        return next((matrix for matrix in found if matrix is not None), None)
    matrix = np.array(saved, dtype=object)
    if matrix.size in (12, 16) and all(isinstance(value, (int, float)) for value in matrix.flat):
        affine = np.eye(4)
        affine.flat[: matrix.size] = matrix.astype(float).ravel()
        return affine
    return None


def dice(scan_from_mni, labels):
    """Of the template's mask, carried to the scan, with label map > 0."""
    brain, template = nib.load(labels), nib.load(MASK)
    to_itk = lambda affine: np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    mni_from_scan = to_itk(np.linalg.inv(scan_from_mni)) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(mni_from_scan[:3, :3].ravel())
    transform.SetTranslation(mni_from_scan[:3, 3])
    mask = sitk.ReadImage(str(MASK), sitk.sitkFloat32) / float(template.get_fdata().max())
    onto = sitk.ReadImage(str(labels), sitk.sitkFloat32)
    carried = sitk.GetArrayFromImage(sitk.Resample(mask, onto, transform, sitk.sitkLinear)).T >= 0.5
    inside = brain.get_fdata() > 0
    return 2 * (carried & inside).sum() / (carried.sum() + inside.sum())


def compare(path, program, threads, folder):
    """Rows (step, tool, wall, cpu, figure) of one scan."""
    ours = Ours(program, path, folder)
    scan = sitk.ReadImage(str(path), sitk.sitkFloat32)
    template = sitk.ReadImage(str(T1), sitk.sitkFloat32)
    inside = nib.load(ours.mask_path).get_fdata() > 0.5
    mask = sitk.Cast(sitk.ReadImage(str(ours.mask_path)) > 0, sitk.sitkUInt8)
    mask.CopyInformation(scan)
    shrink = max(1, round(GRID_MM / min(scan.GetSpacing())))
    reference, watch = log_field_simpleitk(scan, mask, threads)
    correlation = lambda field: np.corrcoef(field[inside], reference[inside])[0, 1]
    prepare = ours.seconds["prepare"]
    yield "N4", "brainage", prepare, prepare, correlation(np.log(nib.load(ours.field_path).get_fdata()))
    yield "N4", "SimpleITK", watch.wall, watch.cpu, 1.0
    if ants:
        field, watch = log_field_ants(path, ours.mask_path, shrink)
        yield "N4", "ANTs", watch.wall, watch.cpu, correlation(field)
    if niimath:
        field, watch = log_field_niimath(path, ours.mask_path, shrink, folder)
        yield "N4", "niimath", watch.wall, watch.cpu, correlation(field)

    labels = path.with_name(path.name.replace("-T1", "-DLMUSE"))
    overlap = (lambda affine: dice(affine, labels)) if labels != path and labels.exists() else lambda _: float("nan")
    register = ours.seconds["register"]
    yield "affine", "brainage", register, register, overlap(np.linalg.inv(ours.mni_from_scan))
    affine, watch = scan_from_mni_simpleitk(scan, template, threads)
    yield "affine", "SimpleITK", watch.wall, watch.cpu, overlap(affine)
    if ants:
        affine, watch = scan_from_mni_ants(path)
        yield "affine", "ANTs", watch.wall, watch.cpu, overlap(affine)
    if niimath:
        affine, watch = scan_from_mni_niimath(path, folder)
        yield "affine", "niimath", watch.wall, watch.cpu, overlap(affine)
    yield "whole", "brainage", ours.whole.wall, ours.whole.cpu, float("nan")


def table(rows):
    """Medians over the scans; of figures also the lowest."""
    print("| step | tool | seconds, IXI (2 mm) | seconds, 256³ (1 mm) | figure | lowest | |")
    print("|---|---|--:|--:|--:|--:|---|")
    names = {"N4": "correlation with SimpleITK's log field", "affine": "Dice", "whole": ""}
    for step, tool in dict.fromkeys((row[1], row[2]) for row in rows):
        mine = [row for row in rows if row[1:3] == (step, tool)]
        cells = []
        for wanted in (True, False):
            some = [row for row in mine if row[0].startswith("IXI") == wanted]
            middle = lambda column: statistics.median(row[column] for row in some)
            cells.append(f"{middle(3):.2f} ({middle(4):.2f})" if some else "")
        figures = [row[5] for row in mine if row[5] == row[5]]
        cells += [f"{statistics.median(figures):.4f}", f"{min(figures):.4f}"] if figures else ["", ""]
        print(f"| {step} | {tool} | {' | '.join(cells)} | {names[step]} |")


def main():
    global ants, nib, niimath, np, sitk
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=pathlib.Path, required=True)
    arguments.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/brainage")
    arguments.add_argument("--threads", type=int, default=2, help="threads of SimpleITK, ANTs and niimath")
    given = arguments.parse_args()
    # Read when the libraries are loaded.
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(given.threads)
    import nibabel as nib
    import numpy as np
    import SimpleITK as sitk

    try:
        import ants
    except ImportError:
        ants = None
    beside = pathlib.Path(sys.executable).parent / "niimath"
    niimath = beside if beside.exists() else None
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(given.threads)
    scans = sorted(given.data.glob("mri/ixi/*-T1.nii.gz")) + sorted(given.data.glob("mri/adult_1mm/*.nii.gz"))
    if not scans:
        sys.exit(f"no scans in {given.data}")
    rows = []
    for path in scans:
        with tempfile.TemporaryDirectory() as folder:
            for row in compare(path, given.program, given.threads, pathlib.Path(folder)):
                rows.append((path.name, *row))
                step, tool, wall, cpu, figure = row
                print(f"{path.name} {step} {tool}: {wall:.2f} s ({cpu:.2f} s), {figure:.4f}", file=sys.stderr, flush=True)
    table(rows)
    lowest = min(row[5] for row in rows if row[1:3] == ("N4", "brainage"))
    sys.exit(0 if lowest >= 0.95 else 1)


if __name__ == "__main__":
    main()
