//! How much memory a scan takes on its way, told from its header, and who has to wait for whom.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Error;
use crate::format::{ReadOptions, read_header_with};
use crate::recipe::{MaskSource, Recipe};

/// What the program itself, the template and what registration makes of it take, in bytes.
const BASE: u64 = 170_000_000;
/// What a scan takes whatever its size: coarser copies, smoothing, what the allocator keeps.
const SCAN: u64 = 40_000_000;
/// Bytes for each of the scan's voxels: the scan, a part of it and a copy with its brightest voxels cut, in f32.
const PER_VOXEL: u64 = 13;
/// The same with a bias field to be written: field and scan, each as it lies in the file as well.
const PER_VOXEL_WRITTEN: u64 = 17;
/// Bytes for each voxel of the recipe's grid: values and masks before, while and after they are normalized.
const PER_GRID_VOXEL: u64 = 14;
/// Activations of the brain network, whose grids are the same for every scan.
const NETWORK: u64 = 420_000_000;

/// Bytes that the program takes before any scan is in work.
pub(super) fn needed_before_scans() -> u64 {
    BASE
}

/// Bytes that a scan with this header takes at most, beside [`needed_before_scans`]; `None` if its header cannot be read,
/// which reading it will explain.
pub(super) fn needed(
    scan: &Path,
    options: ReadOptions,
    recipe: &Recipe,
    writes_files: bool,
) -> Option<u64> {
    let header = read_header_with(scan, options).ok()?;
    let n_voxels = header.stored_shape.n_voxels() as u64;
    let in_archive = std::fs::metadata(scan).is_err();
    // The member of an archive is in memory while its voxels are read; packed, it is hardly larger than they are in f32.
    let archive = if in_archive { 4 * n_voxels } else { 0 };
    let per_voxel = if writes_files {
        PER_VOXEL_WRITTEN
    } else {
        PER_VOXEL
    };
    let network = match recipe.mask.source {
        MaskSource::Learned => NETWORK,
        MaskSource::Template | MaskSource::Refined => 0,
    };
    let grid = PER_GRID_VOXEL * recipe.grid.shape.n_voxels() as u64;
    Some(SCAN + per_voxel.saturating_mul(n_voxels) + archive + network + grid)
}

/// Memory that scans in work share.
#[derive(Debug)]
pub(super) struct SharedMemory {
    /// For the program as a whole, bytes.
    max_memory: u64,
    /// For all scans in work, bytes.
    all: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl SharedMemory {
    /// What `max_memory` leaves for scans.
    pub(super) fn of(max_memory: u64) -> Self {
        let all = max_memory.saturating_sub(needed_before_scans());
        Self {
            max_memory,
            all,
            free: Mutex::new(all),
            freed: Condvar::new(),
        }
    }

    /// Waits until so much is free, and takes it until what comes back is dropped.
    ///
    /// # Errors
    /// [`Error::TooLittleMemory`] where it never will be.
    pub(super) fn take(&self, bytes: u64, scan: &Path) -> Result<Taken<'_>, Error> {
        if bytes > self.all {
            return Err(Error::TooLittleMemory {
                needed: bytes.saturating_add(needed_before_scans()),
                allowed: self.max_memory,
                path: scan.to_path_buf(),
            });
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        Ok(Taken {
            memory: self,
            bytes,
        })
    }
}

/// Memory in use by one scan.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    memory: &'a SharedMemory,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut free = self
            .memory
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *free += self.bytes;
        drop(free);
        self.memory.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn scans_in_work_never_take_more_than_there_is() {
        let memory = SharedMemory::of(needed_before_scans() + 100);
        let (in_work, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [30, 60, 100, 45, 10, 55, 70] {
                let (memory, in_work, most) = (&memory, &in_work, &most);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _taken = memory.take(bytes, Path::new("a.nii")).unwrap();
                        let now = in_work.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        in_work.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
        assert_eq!(*memory.free.lock().unwrap(), 100);
    }

    #[test]
    fn what_never_fits_is_refused_at_once() {
        let memory = SharedMemory::of(500_000_000);
        let refused = memory.take(500_000_000, Path::new("a.nii")).unwrap_err();
        let text = refused.to_string();
        let needed = (500_000_000 + needed_before_scans()) / 1_000_000;
        assert_eq!(
            text,
            format!("needs about {needed} MB of memory, more than the 500 MB allowed: `a.nii`")
        );
    }

    #[test]
    fn larger_scans_finer_grids_and_the_network_need_more() {
        use crate::format::write_nifti;
        use crate::space::{Affine, VoxelShape};
        use crate::volume::Volume;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        let need = |side: usize, recipe: &str, writes_files| {
            let shape = VoxelShape([side; 3]);
            let values = vec![0.0; shape.n_voxels()];
            let scan = Volume::new(values, shape, Affine::identity()).unwrap();
            write_nifti(&path, &scan, "").unwrap();
            let recipe = Recipe::named(recipe).unwrap();
            needed(&path, ReadOptions::default(), &recipe, writes_files).unwrap()
        };
        let small = need(20, "fast", false);
        assert_eq!(need(40, "fast", false) - small, PER_VOXEL * (64_000 - 8000));
        assert!(need(20, "fine", false) > small + NETWORK);
        assert!(need(20, "fast", true) > small);
        fs_err::write(&path, "no scan").unwrap();
        let fast = Recipe::named("fast").unwrap();
        assert_eq!(needed(&path, ReadOptions::default(), &fast, false), None);
    }
}
