//! Saliency by region of an atlas.

use std::collections::BTreeMap;

/// What a region adds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RegionSaliency {
    /// Voxels of the grid in the region.
    pub n_voxels: usize,
    /// Sum over the region, years.
    pub sum_years: f64,
    /// Sum of absolute values, years: large where much goes on, even if it cancels.
    pub sum_absolute_years: f64,
}

/// Sums a map over the regions of labels, one a voxel in the same order; 0 is no region.
pub fn by_region(map: &[f32], labels: &[u32]) -> BTreeMap<u32, RegionSaliency> {
    let mut regions: BTreeMap<u32, RegionSaliency> = BTreeMap::new();
    for (value, label) in map.iter().zip(labels).filter(|(_, label)| **label != 0) {
        let region = regions.entry(*label).or_default();
        region.n_voxels += 1;
        region.sum_years += f64::from(*value);
        region.sum_absolute_years += f64::from(value.abs());
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_where_their_label_is() {
        let regions = by_region(&[1.0, -2.0, 4.0, 8.0], &[2, 2, 0, 7]);
        let expected = |n_voxels, sum_years, sum_absolute_years| RegionSaliency {
            n_voxels,
            sum_years,
            sum_absolute_years,
        };
        assert_eq!(regions.len(), 2);
        assert_eq!(regions[&2], expected(2, -1.0, 3.0));
        assert_eq!(regions[&7], expected(1, 8.0, 8.0));
    }
}
