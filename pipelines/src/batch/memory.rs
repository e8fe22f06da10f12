//! How much memory a scan takes on its way, told from its header, and who has to wait for whom.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::Error;
use crate::format::{ReadOptions, read_header_with};
use crate::recipe::{MaskSource, Recipe};

/// What the program itself, the template and what registration makes of it take, in bytes.
const BASE: u64 = 200_000_000;
/// What the allocator keeps for each thread that has had a scan.
const PER_THREAD: u64 = 40_000_000;
/// What a scan takes whatever its size: coarser copies and smoothing.
const SCAN: u64 = 40_000_000;
/// Bytes for each of the scan's voxels: the scan, a part of it and a copy with its brightest voxels cut, in f32.
const PER_VOXEL: u64 = 13;
/// The same with a bias field to be written: field and scan, each as it lies in the file as well.
const PER_VOXEL_WRITTEN: u64 = 17;
/// Bytes for each voxel of the recipe's grid: values and masks before, while and after they are normalized.
const PER_GRID_VOXEL: u64 = 14;
/// Activations of the brain network, whose grids are the same for every scan.
const NETWORK: u64 = 420_000_000;

/// Bytes that a scan with this header takes at most; `None` if its header cannot be read,
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
    n_workers: usize,
    /// Of the memory, what program and workers leave for scans.
    for_scans: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl SharedMemory {
    /// Shares `max_memory` among scans that need so many bytes each, in work on at most `n_threads` threads: on as many as can
    /// have an ordinary scan at the same time, and on so few that the largest one that fits at all does fit.
    pub(super) fn of(max_memory: u64, needs: &[u64], n_threads: usize) -> Self {
        let free = max_memory.saturating_sub(BASE);
        let mut fitting: Vec<u64> = needs
            .iter()
            .copied()
            .filter(|need| need.saturating_add(PER_THREAD) <= free)
            .collect();
        fitting.sort_unstable();
        let ordinary = fitting.get(fitting.len() / 2).copied().unwrap_or(0);
        let largest = fitting.last().copied().unwrap_or(0);
        let n = (free / (PER_THREAD + ordinary)).min(free.saturating_sub(largest) / PER_THREAD);
        let n_workers = usize::try_from(n)
            .unwrap_or(n_threads)
            .clamp(1, n_threads.max(1));
        let for_scans = free.saturating_sub(PER_THREAD * n_workers as u64);
        Self {
            max_memory,
            n_workers,
            for_scans,
            free: Mutex::new(for_scans),
            freed: Condvar::new(),
        }
    }

    /// How many threads may have scans.
    pub(super) fn n_workers(&self) -> usize {
        self.n_workers
    }

    /// Waits until so much is free, and takes it until what comes back is dropped.
    ///
    /// # Errors
    /// [`Error::TooLittleMemory`] where it never will be.
    pub(super) fn take(&self, bytes: u64, scan: &Path) -> Result<Taken<'_>, Error> {
        if bytes > self.for_scans {
            return Err(Error::TooLittleMemory {
                needed: bytes.saturating_add(BASE + PER_THREAD),
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

    const MB: u64 = 1_000_000;

    #[test]
    fn scans_in_work_never_take_more_than_there_is() {
        let memory = SharedMemory {
            max_memory: BASE + 100,
            n_workers: 7,
            for_scans: 100,
            free: Mutex::new(100),
            freed: Condvar::new(),
        };
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
    fn as_many_threads_have_scans_as_can_have_an_ordinary_one_and_the_largest_still_fits() {
        let free = |mb: u64| BASE + mb * MB;
        let needs = [200 * MB; 9];
        for (mb, n_threads, expected) in [(1000, 8, 4), (1000, 3, 3), (240, 8, 1)] {
            let memory = SharedMemory::of(free(mb), &needs, n_threads);
            assert_eq!(memory.n_workers(), expected, "{mb} MB");
        }
        let with_a_large_one = [&needs[..], &[950 * MB]].concat();
        let memory = SharedMemory::of(free(1000), &with_a_large_one, 8);
        assert_eq!(memory.n_workers(), 1);
        drop(memory.take(950 * MB, Path::new("large.nii")).unwrap());
        // One that fits in no case slows down nobody.
        let with_a_huge_one = [&needs[..], &[5000 * MB]].concat();
        assert_eq!(
            SharedMemory::of(free(1000), &with_a_huge_one, 8).n_workers(),
            4
        );
        assert_eq!(SharedMemory::of(free(1000), &[], 8).n_workers(), 8);
    }

    #[test]
    fn what_never_fits_is_refused_at_once() {
        let memory = SharedMemory::of(500 * MB, &[500 * MB], 2);
        let refused = memory.take(500 * MB, Path::new("a.nii")).unwrap_err();
        let needed = 500 + (BASE + PER_THREAD) / MB;
        assert_eq!(
            refused.to_string(),
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
