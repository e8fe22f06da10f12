//! Which region of the brain a template voxel belongs to, by geometry.
//!
//! Tubes along ventricles and hippocampus, ellipsoids for deep nuclei, planes for lobes and tentorium, in mm of
//! template space, both hemispheres alike. Against label maps of five adults on the template: Dice .75 for the lateral
//! ventricles, .71 hippocampus, .70 deep grey matter, .84 cerebellum, .5–.65 lobes.

use crate::calibration::N_DRIVEN;

/// The driven regions, sulcal fluid and the fourth ventricle.
pub(crate) const N_REGIONS: usize = N_DRIVEN + 2;
/// Position of the lateral ventricles among the regions.
pub(crate) const LV: usize = 0;
/// Position of the third ventricle.
pub(crate) const V3: usize = 1;
/// Position of sulcal fluid.
pub(crate) const SULCAL: usize = 13;
const FGM: usize = 2;
const PGM: usize = 3;
const TGM: usize = 4;
const OGM: usize = 5;
const CGM: usize = 6;
const MTL: usize = 7;
const HIP: usize = 8;
const DGM: usize = 9;
/// Position of the white matter of the cerebrum.
pub(crate) const WM: usize = 10;
const CBL: usize = 11;
const BS: usize = 12;
const V4: usize = 14;

/// A voxel's tissue (fluid, grey, white) shared out to the regions; the sum is kept.
pub(crate) fn share_out([fluid, grey, white]: [f32; 3], at_mm: [f32; 3]) -> [f32; N_REGIONS] {
    let place = Place {
        x: at_mm[0].abs(),
        y: at_mm[1],
        z: at_mm[2],
    };
    let mut regions = [0.0; N_REGIONS];
    regions[place.fluid_region()] = fluid;
    if place.cerebellum() {
        regions[CBL] = grey + white;
    } else if place.brain_stem() {
        regions[BS] = grey + white;
    } else if place.hippocampus() {
        regions[HIP] = grey;
        regions[WM] = white;
    } else if place.thalamus() {
        // The maps call part of the thalamus white.
        regions[DGM] = grey + white;
    } else {
        regions[place.grey_region()] = grey;
        regions[WM] = white;
    }
    regions
}

/// A position in mm, with the distance from the midline as x.
#[derive(Clone, Copy)]
struct Place {
    x: f32,
    y: f32,
    z: f32,
}

impl Place {
    fn in_ellipsoid(self, center: [f32; 3], radii: [f32; 3]) -> bool {
        let d = [self.x - center[0], self.y - center[1], self.z - center[2]];
        d.iter()
            .zip(radii)
            .map(|(d, r)| (d / r) * (d / r))
            .sum::<f32>()
            < 1.0
    }

    /// Within `radius` of a line through the points.
    fn in_tube(self, points: &[[f32; 3]], radius: f32) -> bool {
        let at = [self.x, self.y, self.z];
        points.windows(2).any(|ends| {
            let along: [f32; 3] = std::array::from_fn(|k| ends[1][k] - ends[0][k]);
            let from: [f32; 3] = std::array::from_fn(|k| at[k] - ends[0][k]);
            let dot = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let t = (dot(from, along) / dot(along, along)).clamp(0.0, 1.0);
            let off: [f32; 3] = std::array::from_fn(|k| from[k] - t * along[k]);
            dot(off, off) < radius * radius
        })
    }

    fn fluid_region(self) -> usize {
        let Self { x, y, z } = self;
        let third = x < 4.5
            && (-32.0..6.0).contains(&y)
            && ((y + 12.0) / 20.0).powi(2) + (z / 17.0).powi(2) < 1.0
            && z < 13.0;
        if third {
            return V3;
        }
        if x < 14.0 && y < -28.0 && y > -56.0 && z < -14.0 && z > -48.0 {
            return V4;
        }
        let body = [
            [8.0, 28.0, 2.0],
            [9.0, 18.0, 10.0],
            [12.0, 0.0, 20.0],
            [16.0, -20.0, 23.0],
            [22.0, -34.0, 18.0],
        ];
        let posterior = [
            [22.0, -34.0, 18.0],
            [28.0, -42.0, 6.0],
            [24.0, -58.0, 8.0],
            [20.0, -74.0, 6.0],
        ];
        let temporal = [
            [28.0, -42.0, 6.0],
            [34.0, -34.0, -8.0],
            [33.0, -16.0, -18.0],
            [28.0, -8.0, -20.0],
        ];
        let near = self.in_tube(&body, 12.0)
            || self.in_tube(&posterior, 10.0)
            || self.in_tube(&temporal, 7.0);
        let cistern = (x < 4.0 && z < 12.0 && y < -20.0) || (x < 10.0 && y < -34.0);
        if near && !cistern { LV } else { SULCAL }
    }

    fn cerebellum(self) -> bool {
        let Self { x, y, z } = self;
        let stem_slope = if x < 20.0 {
            0.25 * (-20.0 - z).max(0.0)
        } else {
            0.0
        };
        y < -36.0 - stem_slope && z < 1.0 - 0.48 * x - 0.28 * (-62.0 - y).max(0.0) && z < -2.0
    }

    fn brain_stem(self) -> bool {
        let Self { x, y, z } = self;
        let fourth = x < 14.0 && y < -28.0 && y > -56.0 && z < -14.0 && z > -48.0;
        let upper =
            x < 20.0 - 0.35 * (-10.0 - z).clamp(0.0, 22.0) && y < -8.0 && y > -44.0 && z < -4.0;
        let lower = x < 22.0 && y < -12.0 && y > -56.0 && z < -38.0;
        (upper || lower) && !fourth
    }

    fn hippocampus(self) -> bool {
        let axis = [
            [23.0, -8.0, -20.0],
            [26.0, -14.0, -20.0],
            [30.0, -24.0, -13.0],
            [28.0, -34.0, -5.0],
            [20.0, -39.0, 2.0],
        ];
        self.in_tube(&axis, 6.5) || self.in_ellipsoid([23.0, -4.0, -19.0], [8.0, 8.0, 8.0])
    }

    fn thalamus(self) -> bool {
        self.in_ellipsoid([11.0, -19.0, 8.0], [12.0, 16.0, 11.0])
    }

    /// Where the grey matter of the cerebrum belongs.
    fn grey_region(self) -> usize {
        let Self { x, y, z } = self;
        let deep = self.in_ellipsoid([14.0, 14.0, 7.0], [8.0, 12.0, 12.0])
            || self.in_tube(
                &[[14.0, 14.0, 12.0], [16.0, -4.0, 21.0], [19.0, -20.0, 21.0]],
                5.0,
            )
            || self.in_ellipsoid([25.0, 2.0, 1.0], [10.0, 19.0, 12.0])
            || self.in_ellipsoid([18.0, -5.0, -1.0], [8.0, 9.0, 7.0]);
        let ring = |ry: f32, rz: f32, cz: f32| ((y + 8.0) / ry).powi(2) + ((z - cz) / rz).powi(2);
        let cingulate =
            x < 13.0 && ring(53.0, 41.0, 6.0) < 1.0 && ring(37.0, 25.0, 4.0) > 1.0 && z > -8.0;
        let medial_temporal = x > 12.0 && x < 37.0 && y < 6.0 && y > -42.0 && z < -8.0 && z > -42.0;
        let occipital_front = if z > 15.0 {
            -60.0 - 0.85 * (z - 15.0)
        } else {
            -60.0 - 0.12 * (x - 10.0).max(0.0)
        };
        let insula = x < 42.0 && z > -6.0 && y > -20.0;
        let temporal = x > 20.0 + 0.5 * (z + 5.0).clamp(0.0, 30.0)
            && z < -10.0 + (15.0 - y) * 0.52
            && y < 22.0
            && !insula;
        if deep {
            DGM
        } else if cingulate {
            CGM
        } else if medial_temporal {
            MTL
        } else if y < occipital_front {
            OGM
        } else if temporal {
            TGM
        } else if y < -10.0 - 0.40 * z && z > 0.0 {
            PGM
        } else {
            FGM
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_share_out_alike_and_nothing_is_lost() {
        for at in [
            [30.0, -20.0, 20.0],
            [12.0, -50.0, -30.0],
            [60.0, 0.0, 10.0],
            [3.0, -10.0, 5.0],
        ] {
            let tissue = [0.25, 0.5, 0.25];
            let right = share_out(tissue, at);
            assert_eq!(right, share_out(tissue, [-at[0], at[1], at[2]]));
            assert!((right.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn landmarks_lie_in_their_regions() {
        let fluid = |at| share_out([1.0, 0.0, 0.0], at);
        let grey = |at| share_out([0.0, 1.0, 0.0], at);
        assert_eq!(fluid([12.0, 0.0, 20.0])[LV], 1.0);
        assert_eq!(fluid([0.0, -12.0, 0.0])[V3], 1.0);
        assert_eq!(fluid([40.0, 0.0, 60.0])[SULCAL], 1.0);
        assert_eq!(grey([11.0, -19.0, 8.0])[DGM], 1.0);
        assert_eq!(grey([28.0, -22.0, -14.0])[HIP], 1.0);
        assert_eq!(grey([10.0, -90.0, 5.0])[OGM], 1.0);
        assert_eq!(grey([30.0, 50.0, 10.0])[FGM], 1.0);
        assert_eq!(grey([20.0, -60.0, -35.0])[CBL], 1.0);
    }
}
