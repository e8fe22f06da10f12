"""Makes synth/assets/tissue_2mm.bin.gz: soft maps of fluid and white matter of the ICBM 152 template, at 2 mm.

    pip install numpy scipy nibabel
    python tools/synth_tissue_maps.py FOLDER synth/assets/tissue_2mm.bin.gz

FOLDER holds, of the ICBM 152 templates (nonlinear symmetric):
    mni_icbm152_t1_tal_nlin_sym_09c_uint8.nii.gz, mni_icbm152_t1_tal_nlin_sym_09c_mask.nii.gz,
    mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz, mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz

The file, gunzipped: 97 x 115 x 97 bytes of fluid, then as many of white matter, x fastest, RAS+, voxel 0 at
(-96, -132, -78) mm; 0..LEVELS means 0..1. Grey matter is what is left of the brain mask.
"""
import gzip
import sys

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

LEVELS = 31
FLUID_ADDED_ML = -15.0


def main(folder, target):
    t1, affine, mask, fluid, grey, white = template(folder)
    fluid, grey, white = sharpen(t1, affine, mask, fluid, grey, white)
    print("ml: fluid %.0f, grey %.0f, white %.0f" % tuple(x.sum() / 1000 for x in (fluid, grey, white)))
    planes = [np.rint(half(x) * LEVELS).astype(np.uint8) for x in (fluid, white)]
    raw = b"".join(p.tobytes(order="F") for p in planes)
    with open(target, "wb") as out:
        out.write(gzip.compress(raw, 9, mtime=0))


def template(folder):
    def load(name):
        return nib.load(f"{folder}/mni_icbm152_{name}")

    image = load("t1_tal_nlin_sym_09c_uint8.nii.gz")
    t1, affine = image.get_fdata(dtype=np.float32), image.affine
    mask = load("t1_tal_nlin_sym_09c_mask.nii.gz").get_fdata(dtype=np.float32) > 0.5

    def onto(name):
        """A map of the 09a grid on the 09c grid: a shift by whole voxels."""
        other = load(name)
        shift = np.round(affine[:3, 3] - other.affine[:3, 3]).astype(int)
        values, out = other.get_fdata(dtype=np.float32) / 255, np.zeros(t1.shape, np.float32)
        spans = [(max(0, s), min(n, s + m)) for s, n, m in zip(shift, values.shape, t1.shape)]
        there = tuple(slice(a - s, b - s) for (a, b), s in zip(spans, shift))
        out[there] = values[tuple(slice(a, b) for a, b in spans)]
        return out

    grey = onto("gm_tal_nlin_sym_09a_converted.nii.gz") * mask
    white = onto("wm_tal_nlin_sym_09a_converted.nii.gz") * mask
    return t1, affine, mask, np.clip(mask - grey - white, 0, 1) * mask, grey, white


def sharpen(t1, affine, mask, fluid, grey, white):
    """Undoes part of the average's blur.

    The maps call deep sulci pure cortex; they are found as dark valleys of the T1. Then each map is raised to a power
    and weighted so that the tissues keep their volumes.
    """
    volumes = [fluid.sum() + FLUID_ADDED_ML * 1e3, grey.sum() - FLUID_ADDED_ML * 1e3, white.sum()]
    pure = (grey > 0.8) & (t1 < 215) & (t1 > 120)
    blur = lambda x: ndi.gaussian_filter(x.astype(np.float32), 12.0)
    local = blur(pure * t1) / np.maximum(blur(pure), 0.02)
    x, y, z = (affine[k, k] * np.arange(t1.shape[k]) + affine[k, 3] for k in range(3))
    x, y, z = np.abs(x)[:, None, None], y[None, :, None], z[None, None, :]
    deep = (x < 31) & (y > -36) & (y < 26) & (z > -12) & (z < 25)
    deep |= (x > 13) & (x < 35) & (y > -42) & (y < 4) & (z > -30) & (z < 3)
    opened = 1 / (1 + np.exp(-np.clip((local - 15 - t1) / 5, -20, 20))) * ~deep * mask
    fluid, grey = fluid + grey * opened, grey * (1 - opened)
    powers = [fluid[mask] ** 1.3, grey[mask] ** 2.2, white[mask] ** 2.2]
    weights = [1.0, 1.0, 1.0]
    inner = ndi.distance_transform_edt(mask)[mask] > 26  # else the ventricles would shrink to a half

    def factors():
        return np.where(inner, 1.0, weights[0]), weights[1], weights[2]

    for _ in range(25):
        f = factors()
        total = sum(a * p for a, p in zip(f, powers)) + 1e-9
        weights = [w * np.clip(v / (a * p / total).sum(), 0.5, 2) for w, a, p, v in zip(weights, f, powers, volumes)]
        weights = [w / weights[1] for w in weights]
    f = factors()
    total = sum(a * p for a, p in zip(f, powers)) + 1e-9
    out = []
    for a, p in zip(f, powers):
        values = np.zeros(mask.shape, np.float32)
        values[mask] = a * p / total
        out.append(values)
    return out


def half(values):
    """1 mm to 2 mm: [1 2 1]/4 along each axis, every second sample."""
    values = values.astype(np.float32)
    for axis in range(3):
        values = ndi.convolve1d(values, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    return values[::2, ::2, ::2]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
