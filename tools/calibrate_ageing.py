#!/usr/bin/env python3
"""Fits how regions of the brain follow age, sex and head size, and writes the constants of the synthetic heads.

    python3 tools/calibrate_ageing.py DATA/ageing > synth/src/calibration.rs

DATA/ageing holds IXI_DLMUSE.csv (volumes in mm3 by MUSE region) and IXI_demog.csv (ID, Age, Sex) of 291 adults of 40 to 86
years: derived from IXI (brain-development.org) by NiChart, CC BY-SA 3.0. Only the standard library is needed.

Model of each region, by least squares, u = (age - 60)/10 years:

    ln(V/ICV) = a + b u + c u^2 + sex (male +1/2, female -1/2) + e (ln ICV - ln 1360 ml) + residual

A curve in u is a parabola from 40 to 90 years. The table has no one under 40: 20 and 30 are published adult findings
(EXTRAPOLATED, see docs/synthetic-heads.md). The residuals' covariance, less what a brain that is 3.6 years (sd) older or
younger than its owner explains, is taken apart into four common factors and what is each region's own (principal axes,
iterated).
"""

import csv
import math
import sys
from pathlib import Path

# Short name, MUSE ids, ln(V/ICV) at 20 and 30 years relative to 40.
REGIONS = [
    ("LV", [49, 50, 51, 52]),
    ("V3", [4]),
    ("FGM", [404]),
    ("PGM", [409]),
    ("TGM", [411]),
    ("OGM", [407]),
    ("CGM", [306]),
    ("MTL", [307]),
    ("HIP", [47, 48, 31, 32]),
    ("DGM", [23, 30, 36, 37, 55, 56, 57, 58, 59, 60]),
    ("WM", [405, 408, 410, 412, 403, 501]),
    ("CBL", [502]),
    ("BS", [35, 61, 62]),
]
EXTRAPOLATED = {
    "LV": (-0.16, -0.09),
    "V3": (-0.26, -0.14),
    "FGM": (0.088, 0.043),
    "PGM": (0.074, 0.037),
    "TGM": (0.040, 0.021),
    "OGM": (0.026, 0.014),
    "CGM": (0.060, 0.031),
    "MTL": (0.004, 0.003),
    "HIP": (-0.006, -0.002),
    "DGM": (0.062, 0.032),
    "WM": (-0.035, -0.012),
    "CBL": (0.020, 0.011),
    "BS": (-0.012, -0.004),
}
ICV_ID = 702
MIDDLE_ICV_ML = 1360.0
BRAIN_AGE_SD_YEARS = 3.6
N_FACTORS = 4
KNOTS = [20, 30, 40, 50, 60, 70, 80, 90]


def read(folder):
    """Rows of (age, sex, ICV in ml, [ln(V/ICV) of each region])."""
    people = {row["ID"]: row for row in csv.DictReader(open(folder / "IXI_demog.csv", encoding="utf-8"))}
    rows = []
    for row in csv.DictReader(open(folder / "IXI_DLMUSE.csv", encoding="utf-8")):
        person = people.get(row["ID"])
        if person is None:
            continue
        icv = float(row[str(ICV_ID)])
        volumes = [sum(float(row[str(i)]) for i in ids) for _, ids in REGIONS]
        sex = 0.5 if person["Sex"] == "M" else -0.5
        rows.append((float(person["Age"]), sex, icv / 1000, [math.log(v / icv) for v in volumes]))
    return rows


def solve(matrix, right):
    """Solves a small system by Gaussian elimination with pivoting."""
    n = len(right)
    a = [list(row) + [b] for row, b in zip(matrix, right)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(a[r][i]))
        a[i], a[pivot] = a[pivot], a[i]
        for r in range(n):
            if r != i:
                f = a[r][i] / a[i][i]
                a[r] = [x - f * y for x, y in zip(a[r], a[i])]
    return [a[i][n] / a[i][i] for i in range(n)]


def least_squares(design, y):
    """Coefficients and residuals."""
    k = len(design[0])
    normal = [[sum(row[i] * row[j] for row in design) for j in range(k)] for i in range(k)]
    right = [sum(row[i] * v for row, v in zip(design, y)) for i in range(k)]
    beta = solve(normal, right)
    return beta, [v - sum(b * x for b, x in zip(beta, row)) for row, v in zip(design, y)]


def eigen(matrix):
    """Eigenvalues and vectors of a symmetric matrix by Jacobi's method, largest first."""
    n = len(matrix)
    a = [list(row) for row in matrix]
    v = [[float(i == j) for j in range(n)] for i in range(n)]
    for _ in range(100):
        off = sum(a[i][j] ** 2 for i in range(n) for j in range(i))
        if off < 1e-22:
            break
        for p in range(n):
            for q in range(p + 1, n):
                if abs(a[p][q]) < 1e-300:
                    continue
                theta = (a[q][q] - a[p][p]) / (2 * a[p][q])
                t = math.copysign(1, theta) / (abs(theta) + math.hypot(theta, 1))
                c = 1 / math.hypot(t, 1)
                s = t * c
                for k in range(n):
                    a[k][p], a[k][q] = c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]
                for k in range(n):
                    a[p][k], a[q][k] = c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]
                for k in range(n):
                    v[k][p], v[k][q] = c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]
    order = sorted(range(n), key=lambda i: -a[i][i])
    return [a[i][i] for i in order], [[v[k][i] for k in range(n)] for i in order]


def factors(covariance):
    """Loadings on common factors and unique standard deviations, by iterated principal axes of the correlations."""
    n = len(covariance)
    sd = [math.sqrt(covariance[i][i]) for i in range(n)]
    correlation = [[covariance[i][j] / sd[i] / sd[j] for j in range(n)] for i in range(n)]
    communality = [0.5] * n
    for _ in range(2000):
        reduced = [[communality[i] if i == j else correlation[i][j] for j in range(n)] for i in range(n)]
        values, vectors = eigen(reduced)
        loadings = [
            [math.sqrt(max(values[f], 0)) * vectors[f][i] for f in range(N_FACTORS)] for i in range(n)
        ]
        # No region is common to the last bit: a fifth of its variance at least is its own.
        new = [min(sum(x * x for x in row), 0.8) for row in loadings]
        change = max(abs(x - y) for x, y in zip(new, communality))
        communality = new
        if change < 1e-9:
            break
    scale = [math.sqrt(communality[i] / max(sum(x * x for x in loadings[i]), 1e-12)) for i in range(n)]
    loadings = [[scale[i] * sd[i] * x for x in loadings[i]] for i in range(n)]
    for f in range(N_FACTORS):
        if sum(row[f] / sd[i] for i, row in enumerate(loadings)) < 0:
            for row in loadings:
                row[f] = -row[f]
    return loadings, [sd[i] * math.sqrt(1 - communality[i]) for i in range(n)]


def fit(rows):
    design = [[1, (age - 60) / 10, ((age - 60) / 10) ** 2, sex, math.log(icv / MIDDLE_ICV_ML)] for age, sex, icv, _ in rows]
    fits = [least_squares(design, [row[3][r] for row in rows]) for r in range(len(REGIONS))]
    free = len(rows) - len(design[0])
    slopes = [beta[1] / 10 for beta, _ in fits]
    covariance = [
        [
            sum(x * y for x, y in zip(fits[r][1], fits[s][1])) / free - BRAIN_AGE_SD_YEARS**2 * slopes[r] * slopes[s]
            for s in range(len(fits))
        ]
        for r in range(len(fits))
    ]
    spread = [math.sqrt(sum(x * x for x in residuals) / free) for _, residuals in fits]
    return fits, spread, factors(covariance)


def head_sizes(rows):
    """Geometric means of women and men in ml, and the standard deviation of the logarithm about them."""
    logs = {sex: [math.log(row[2]) for row in rows if row[1] == sex] for sex in (-0.5, 0.5)}
    means = {sex: sum(v) / len(v) for sex, v in logs.items()}
    squares = sum((x - means[sex]) ** 2 for sex, v in logs.items() for x in v)
    return math.exp(means[-0.5]), math.exp(means[0.5]), math.sqrt(squares / (len(rows) - 2))


def numbers(values, digits=3):
    # No negative zeros.
    return ", ".join(f"{round(v, digits) + 0.0:.{digits}f}" for v in values)


def main():
    rows = read(Path(sys.argv[1]))
    fits, spread, (loadings, unique) = fit(rows)
    women, men, icv_sd = head_sizes(rows)
    ages = [row[0] for row in rows]
    print(HEADER.format(n=len(rows), young=min(ages), old=max(ages)))
    print(f"/// Geometric means of the intracranial volume of women and of men, ml.\npub(crate) const ICV_ML: [f64; 2] = [{women:.0f}.0, {men:.0f}.0];")
    print(f"/// Standard deviation of its logarithm.\npub(crate) const ICV_SD_LOG: f64 = {icv_sd:.3f};\n")
    print("#[rustfmt::skip]\npub(crate) const REGIONS: [Region; N_DRIVEN] = [")
    for (name, _), (beta, _), load, own in zip(REGIONS, fits, loadings, unique):
        curve = lambda age: beta[1] * (age - 60) / 10 + beta[2] * ((age - 60) / 10) ** 2
        by_age = list(EXTRAPOLATED[name]) + [curve(age) - curve(40) for age in KNOTS[2:]]
        at_40 = 100 * math.exp(beta[0] + curve(40))
        print(f"    // {name}: {at_40:.3f} % of the intracranial volume at 40 years")
        print(f"    region([{numbers(by_age)}], {numbers([beta[3]])}, {numbers([beta[4]], 2)}, [{numbers(load)}], {own:.3f}),")
    print("];")
    for (name, _), (beta, _), sd in zip(REGIONS, fits, spread):
        per_decade = [beta[1] + 2 * beta[2] * (age - 60) / 10 for age in (45, 60, 75)]
        print(
            f"{name}: % a decade at 45, 60, 75: {', '.join(f'{100 * x:.1f}' for x in per_decade)}; "
            f"sd {100 * sd:.1f} %; men {100 * beta[3]:+.1f} %; ICV^{beta[4]:.2f}",
            file=sys.stderr,
        )


HEADER = """\
//! How regions of the brain follow age, sex and head size: written by `tools/calibrate_ageing.py`, not by hand.
//!
//! From volumes of {n} adults of {young:.0f} to {old:.0f} years: IXI (brain-development.org), segmented by NiChart (MUSE regions),
//! CC BY-SA 3.0. 20 and 30 years are extrapolated with published adult findings. docs/synthetic-heads.md has the model.

/// Regions whose volumes follow age.
pub(crate) const N_DRIVEN: usize = 13;
/// Ages at which curves are given; a natural cubic spline goes through them.
pub(crate) const KNOTS_YEARS: [f64; 8] = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0];

/// How a region follows age, sex and head size.
pub(crate) struct Region {{
    /// ln(V/ICV) at the knots, relative to 40 years.
    pub(crate) by_age: [f64; 8],
    /// Male minus female at equal head size.
    pub(crate) sex: f64,
    /// Exponent of V/ICV on ICV.
    pub(crate) icv: f64,
    /// Loadings on four common factors.
    pub(crate) factors: [f64; 4],
    /// Standard deviation of what is the region's own.
    pub(crate) unique: f64,
}}

const fn region(by_age: [f64; 8], sex: f64, icv: f64, factors: [f64; 4], unique: f64) -> Region {{
    Region {{
        by_age,
        sex,
        icv,
        factors,
        unique,
    }}
}}
"""


if __name__ == "__main__":
    main()
