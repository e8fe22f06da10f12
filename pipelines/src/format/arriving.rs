//! Voxels on their way from stored bytes to RAS+ axes.

use super::error::ReadProblem;
use super::samples::Decoder;
use crate::orient::{Placing, Reorientation};

/// Bytes converted at once; small enough for a core's own cache.
pub(super) const SLAB: usize = 1 << 18;
/// Most voxels converted at once.
const LARGEST_SLAB: usize = 1 << 21;
/// Voxels for which memory is taken before any has arrived.
const FIRST_VOXELS: usize = 1 << 24;
/// Up to so many voxels are put in their place as they arrive: a zeroed array costs no memory before it is written to.
/// Larger volumes grow with their data and are turned afterwards, so that a header that lies is not believed.
const PLACED_VOXELS: usize = 1 << 26;

/// The values of one volume, as far as they have arrived.
pub(super) struct Arriving {
    n_voxels: usize,
    n_arrived: usize,
    /// In RAS+ order where they are placed at once, otherwise as they are stored.
    values: Vec<f32>,
    /// How they get there; `None` where the stored order is RAS+ already.
    placing: Option<Placing>,
    places_at_once: bool,
    slice: usize,
    slab: Vec<f32>,
}

impl Arriving {
    pub(super) fn new(reorientation: &Reorientation) -> Self {
        let shape = reorientation.stored_shape();
        let n_voxels = shape.n_voxels();
        let placing = (!reorientation.is_identity()).then(|| reorientation.placing());
        let places_at_once = placing.is_some() && n_voxels <= PLACED_VOXELS;
        Self {
            n_voxels,
            n_arrived: 0,
            values: if places_at_once {
                vec![0.0; n_voxels]
            } else {
                Vec::new()
            },
            placing,
            places_at_once,
            slice: shape.0[0] * shape.0[1],
            slab: Vec::new(),
        }
    }

    /// How many voxels are best read at once; the last ones may be fewer.
    pub(super) fn n_at_once(&self, bytes_per_voxel: usize) -> usize {
        let few = SLAB / bytes_per_voxel;
        let n = match &self.placing {
            Some(placing) if self.places_at_once => {
                let wanted = few.max(placing.slices_at_once() * self.slice);
                (wanted.min(LARGEST_SLAB) / self.slice).max(1) * self.slice
            }
            _ => few,
        };
        n.min(self.n_voxels)
    }

    pub(super) fn n_missing(&self) -> usize {
        self.n_voxels - self.n_arrived
    }

    /// Converts the next voxels, as many as [`Self::n_at_once`] says, and says how many were not finite.
    ///
    /// # Errors
    /// [`ReadProblem::Memory`] where there is none left.
    pub(super) fn take(&mut self, raw: &[u8], decoder: &Decoder) -> Result<usize, ReadProblem> {
        if let (Some(placing), true) = (&self.placing, self.places_at_once) {
            self.slab.clear();
            let not_finite = decoder.decode(raw, &mut self.slab);
            placing.place(&self.slab, self.n_arrived / self.slice, &mut self.values);
            self.n_arrived += self.slab.len();
            return Ok(not_finite);
        }
        self.reserve()?;
        let not_finite = decoder.decode(raw, &mut self.values);
        self.n_arrived = self.values.len();
        Ok(not_finite)
    }

    /// All values in RAS+ order.
    ///
    /// # Errors
    /// [`ReadProblem::Memory`] where there is none left.
    pub(super) fn finish(self) -> Result<Vec<f32>, ReadProblem> {
        let Some(placing) = self.placing.filter(|_| !self.places_at_once) else {
            return Ok(self.values);
        };
        let mut turned = Vec::new();
        turned
            .try_reserve_exact(self.n_voxels)
            .or(Err(no_memory(self.n_voxels)))?;
        turned.resize(self.n_voxels, 0.0);
        placing.place(&self.values, 0, &mut turned);
        Ok(turned)
    }

    /// Makes room for one more slab: for everything at first unless that is very much, then by doubling, so that a
    /// header that lies costs no more memory than the file has data.
    fn reserve(&mut self) -> Result<(), ReadProblem> {
        let values = &mut self.values;
        let additional = (self.n_voxels - values.len()).min(SLAB);
        if values.capacity() - values.len() >= additional {
            return Ok(());
        }
        let aim = self.n_voxels.min(FIRST_VOXELS.max(2 * values.len()));
        values
            .try_reserve_exact(aim.max(values.len() + additional) - values.len())
            .or(Err(no_memory(aim)))
    }
}

fn no_memory(n_voxels: usize) -> ReadProblem {
    ReadProblem::Memory {
        bytes: 4 * n_voxels as u64,
    }
}
