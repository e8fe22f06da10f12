//! Reads scans away from the window's thread, so that it never stands still.
//!
//! The scan that is wanted is read at once, the next one after it; a scan that nobody waits for any more stops being
//! read within a slab. Kept are the scan that is shown and the one that comes next.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::format::{ReadOptions, Scan, read_scan_watched};
use brainage_pipelines::{Affine, Volume};
use eframe::egui;

use crate::image::grid::is_straight;
use crate::image::scene::Space;
use crate::image::window_level::Presets;
use crate::preparation::{Prepared, Preprocessing};

/// Progress is told anew after this share of a scan.
const STEP_PERCENT: u32 = 5;

/// A scan ready to be shown.
#[derive(Clone, Debug)]
pub(crate) struct LoadedScan {
    /// Voxels on RAS+ axes.
    pub(crate) volume: Arc<Volume>,
    /// Whose world the voxels lie in; cache entries lie in the template's.
    pub(crate) space: Space,
    /// Windows that suit it.
    pub(crate) presets: Presets,
    /// First and last voxel with something in it, along each axis.
    pub(crate) content: [[usize; 2]; 3],
    /// What preprocessing made of it, where the cache has it.
    pub(crate) prepared: Option<Prepared>,
    /// What the file is: name and value of each property.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// What is odd about the file.
    pub(crate) warnings: Vec<String>,
}

/// Why a scan cannot be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadFailure {
    /// What is wrong with which file.
    pub(crate) reason: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
}

/// What came of reading one scan.
pub(crate) type Outcome = Result<Arc<LoadedScan>, LoadFailure>;

/// What is known of one scan.
pub(crate) enum ScanState<'a> {
    /// Nobody asked for it.
    Unknown,
    /// So much of it has been read, in percent.
    Reading(u32),
    /// It is there, or cannot be read.
    Done(&'a Outcome),
}

/// A reading thread as seen from outside.
#[derive(Debug, Default)]
struct Reading {
    percent: AtomicU32,
    canceled: AtomicBool,
}

enum Slot {
    Reading(Arc<Reading>),
    Done(Outcome),
}

/// The reading threads, and what they have read.
pub(crate) struct Loader {
    ctx: egui::Context,
    preprocessing: Option<Arc<Preprocessing>>,
    sender: mpsc::Sender<(Arc<Reading>, Outcome)>,
    outcomes: mpsc::Receiver<(Arc<Reading>, Outcome)>,
    slots: Vec<(PathBuf, Slot)>,
    wanted: Option<PathBuf>,
    next: Option<PathBuf>,
}

impl Loader {
    /// A loader that wakes `ctx` whenever there is news, and looks up in the cache of `preprocessing`.
    pub(crate) fn new(ctx: &egui::Context, preprocessing: Option<Arc<Preprocessing>>) -> Self {
        let (sender, outcomes) = mpsc::channel();
        Self {
            ctx: ctx.clone(),
            preprocessing,
            sender,
            outcomes,
            slots: Vec::new(),
            wanted: None,
            next: None,
        }
    }

    /// Asks for a scan, and after it for the one that will probably be next. Whatever else is being read is stopped.
    pub(crate) fn request(&mut self, wanted: &Path, next: Option<&Path>) {
        self.wanted = Some(wanted.to_path_buf());
        self.next = next.map(Path::to_path_buf);
        self.slots.retain(|(path, slot)| {
            let kept = path == wanted || Some(path.as_path()) == next;
            if let (Slot::Reading(reading), false) = (slot, kept) {
                reading.canceled.store(true, Ordering::Relaxed);
            }
            kept
        });
        self.begin(wanted.to_path_buf());
        self.look_ahead();
    }

    /// Reads a file again.
    pub(crate) fn request_again(&mut self, wanted: &Path) {
        self.slots.retain(|(path, _)| path != wanted);
        let next = self.next.take();
        self.request(wanted, next.as_deref());
    }

    /// Stops reading the scan that was asked for.
    pub(crate) fn cancel(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        for (path, slot) in &mut self.slots {
            if let (true, Slot::Reading(reading)) = (path == wanted, &*slot) {
                reading.canceled.store(true, Ordering::Relaxed);
                *slot = Slot::Done(Err(LoadFailure {
                    reason: format!("not read, since you canceled: `{}`", path.display()),
                    hint: None,
                }));
            }
        }
    }

    /// What is known of a scan.
    pub(crate) fn state(&self, path: &Path) -> ScanState<'_> {
        match self.slots.iter().find(|(known, _)| known == path) {
            None => ScanState::Unknown,
            Some((_, Slot::Reading(reading))) => {
                ScanState::Reading(reading.percent.load(Ordering::Relaxed))
            }
            Some((_, Slot::Done(outcome))) => ScanState::Done(outcome),
        }
    }

    /// Whether what was asked for last is still being read.
    pub(crate) fn is_loading(&self) -> bool {
        let wanted = self.wanted.as_deref();
        wanted.is_some_and(|path| matches!(self.state(path), ScanState::Reading(_)))
    }

    /// Takes in what has been read since the last frame.
    pub(crate) fn poll(&mut self) {
        while let Ok(read) = self.outcomes.try_recv() {
            self.take(read);
        }
    }

    /// Blocks until what was asked for last has been read.
    pub(crate) fn wait(&mut self) {
        self.poll();
        while self.is_loading() {
            // The loader holds a sender itself, so this never fails.
            match self.outcomes.recv() {
                Ok(read) => self.take(read),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, (reading, outcome): (Arc<Reading>, Outcome)) {
        let of_thread =
            |slot: &Slot| matches!(slot, Slot::Reading(known) if Arc::ptr_eq(known, &reading));
        if let Some((_, slot)) = self.slots.iter_mut().find(|(_, slot)| of_thread(slot)) {
            *slot = Slot::Done(outcome);
        }
        self.look_ahead();
    }

    /// Reads the next scan once the wanted one is there.
    fn look_ahead(&mut self) {
        if !self.is_loading()
            && let Some(next) = self.next.clone()
        {
            self.begin(next);
        }
    }

    fn begin(&mut self, path: PathBuf) {
        if self.slots.iter().any(|(known, _)| *known == path) {
            return;
        }
        let reading = Arc::new(Reading::default());
        let (ctx, sender) = (self.ctx.clone(), self.sender.clone());
        let preprocessing = self.preprocessing.clone();
        let (file, seen) = (path.clone(), Arc::clone(&reading));
        let started = std::thread::Builder::new()
            .name("scan-loader".into())
            .spawn(move || {
                let read = || load(&file, preprocessing.as_deref(), &seen, &ctx);
                let outcome = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                    Err(LoadFailure {
                        reason: format!("reading stopped unexpectedly: `{}`", file.display()),
                        hint: Some("look at the terminal, and please report it"),
                    })
                });
                // A send fails only where the viewer is gone.
                sender.send((seen, outcome)).ok();
                ctx.request_repaint();
            });
        let slot = match started {
            Ok(_) => Slot::Reading(reading),
            Err(error) => Slot::Done(Err(LoadFailure {
                reason: format!("no thread could be started to read it: {error}"),
                hint: Some("close other programs and try again"),
            })),
        };
        self.slots.push((path, slot));
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        for (_, slot) in &self.slots {
            if let Slot::Reading(reading) = slot {
                reading.canceled.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn load(
    path: &Path,
    preprocessing: Option<&Preprocessing>,
    reading: &Reading,
    ctx: &egui::Context,
) -> Outcome {
    let is_entry = path.extension().is_some_and(|extension| extension == "vol");
    if is_entry {
        return load_entry(path);
    }
    let mut on_slab = |share: f32| {
        let percent = (share * 100.0) as u32;
        if percent >= reading.percent.load(Ordering::Relaxed) + STEP_PERCENT {
            reading.percent.store(percent, Ordering::Relaxed);
            ctx.request_repaint();
        }
        if reading.canceled.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let scan = read_scan_watched(path, ReadOptions::default(), &mut on_slab).map_err(|error| {
        LoadFailure {
            reason: error.to_string(),
            hint: error.hint(),
        }
    })?;
    let prepared = preprocessing.and_then(|how| Prepared::look_up(how, &scan));
    let facts = facts_of(&scan);
    let presets = Presets::of(scan.volume.values());
    Ok(Arc::new(LoadedScan {
        content: content(&scan.volume, presets.auto.black()),
        presets,
        volume: Arc::new(scan.volume),
        space: Space::Scan,
        prepared,
        facts,
        warnings: scan.header.warnings,
    }))
}

/// The first and last slice along each axis of which a hundredth is brighter than `black`; all, where none is.
fn content(volume: &Volume, black: f32) -> [[usize; 2]; 3] {
    let shape = volume.shape().0;
    let mut counts = shape.map(|n| vec![0usize; n]);
    for (row, values) in volume.values().chunks_exact(shape[0].max(1)).enumerate() {
        let mut n = 0;
        for (value, count) in values.iter().zip(&mut counts[0]) {
            let is_bright = usize::from(*value > black);
            *count += is_bright;
            n += is_bright;
        }
        counts[1][row % shape[1]] += n;
        counts[2][row / shape[1]] += n;
    }
    [0, 1, 2].map(|axis| {
        let in_a_slice = volume.values().len() / shape[axis].max(1);
        let is_full = |n: &usize| *n * 100 > in_a_slice;
        let first = counts[axis].iter().position(is_full);
        let last = counts[axis].iter().rposition(is_full);
        match (first, last) {
            (Some(first), Some(last)) => [first, last],
            _ => [0, shape[axis].saturating_sub(1)],
        }
    })
}

fn facts_of(scan: &Scan) -> Vec<(&'static str, String)> {
    let (header, volume) = (&scan.header, &scan.volume);
    let [x, y, z] = volume.voxel_size_mm();
    let compression = if header.gzipped { ", gzipped" } else { "" };
    let mut facts = vec![
        ("Format", format!("{}{compression}", header.format)),
        ("Data type", header.datatype.to_owned()),
        ("Voxels", volume.shape().to_string()),
        ("Voxel size", format!("{x:.2} × {y:.2} × {z:.2} mm")),
        ("Stored as", header.world_from_stored.orientation()),
    ];
    if !is_straight(&volume.world_from_voxel()) {
        facts.push(("Oblique", "shown along the axes of the world".to_owned()));
    }
    if header.is_synthetic() {
        facts.push(("Origin", "synthetic, made by a program".to_owned()));
    }
    facts
}

fn load_entry(path: &Path) -> Outcome {
    let failed = |reason: String| LoadFailure {
        reason,
        hint: Some("preprocess the scan again: damaged entries are made anew"),
    };
    let entry = CacheEntry::open(path).map_err(|error| failed(error.to_string()))?;
    let prepared = Prepared::of_entry(&entry).map_err(failed)?;
    let header = entry.header;
    let mut facts = vec![
        ("Format", "entry of the cache".to_owned()),
        ("Recipe", header.recipe_name),
        ("Voxels", header.shape.to_string()),
        ("Made from", header.source),
        ("Quality control", header.qc.verdict.to_string()),
    ];
    facts.extend(header.qc.reasons.into_iter().map(|reason| ("QC", reason)));
    Ok(Arc::new(LoadedScan {
        content: content(&prepared.volume, prepared.presets.full.black()),
        presets: prepared.presets,
        volume: Arc::clone(&prepared.volume),
        space: if prepared.volume_world_from_scan == Affine::identity() {
            Space::Scan
        } else {
            Space::Template
        },
        prepared: Some(prepared),
        facts,
        warnings: header.warnings,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom;

    fn loader() -> Loader {
        Loader::new(&egui::Context::default(), None)
    }

    fn is_read(loader: &Loader, path: &Path) -> bool {
        matches!(loader.state(path), ScanState::Done(Ok(_)))
    }

    #[test]
    fn of_three_scans_asked_for_at_once_the_last_is_there_in_the_end_and_only_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("scan-{i}.nii"));
        let mut loader = loader();
        for i in 0..3 {
            phantom::write(&path(i), [4 + i, 5, 6]);
            loader.request(&path(i), None);
        }
        loader.wait();
        let ScanState::Done(Ok(shown)) = loader.state(&path(2)) else {
            panic!("it was not read");
        };
        assert_eq!(shown.volume.shape().0, [6, 5, 6]);
        assert!(!is_read(&loader, &path(0)) && !is_read(&loader, &path(1)));
    }

    #[test]
    fn the_next_scan_is_read_ahead_and_a_hundred_scans_leave_two_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("scan-{i}.nii"));
        let mut loader = loader();
        for i in 0..=100 {
            phantom::write(&path(i), [4, 4, 4]);
        }
        for i in 0..100 {
            loader.request(&path(i), Some(&path(i + 1)));
            loader.wait();
            assert!(is_read(&loader, &path(i)));
            assert!(loader.slots.len() <= 2);
        }
        let next = path(100);
        while !is_read(&loader, &next) {
            let read = loader.outcomes.recv().unwrap();
            loader.take(read);
        }
    }

    #[test]
    fn a_canceled_scan_says_so_and_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nii");
        phantom::write(&path, [64, 64, 64]);
        let mut loader = loader();
        loader.request(&path, None);
        loader.cancel();
        loader.wait();
        let ScanState::Done(Err(failure)) = loader.state(&path) else {
            panic!("it was read all the same");
        };
        assert!(failure.reason.contains("canceled"), "{}", failure.reason);
        loader.request_again(&path);
        loader.wait();
        assert!(is_read(&loader, &path));
    }

    #[test]
    fn empty_slices_are_told_from_those_with_something_in_them() {
        let shape = [10, 12, 8];
        let value = |i: usize| {
            let [x, y, z] = [i % 10, i / 10 % 12, i / 120];
            f32::from(u8::from(
                (2..6).contains(&x) && (3..12).contains(&y) && z == 4,
            )) * 9.0
        };
        let values = (0..960).map(value).collect();
        let shape = brainage_pipelines::VoxelShape(shape);
        let volume = Volume::new(values, shape, Affine::identity()).unwrap();
        assert_eq!(content(&volume, 1.0), [[2, 5], [3, 11], [4, 4]]);
        assert_eq!(content(&volume, 10.0), [[0, 9], [0, 11], [0, 7]]);
    }

    #[test]
    fn a_missing_file_is_a_failure_that_names_it() {
        let mut loader = loader();
        for name in ["/nowhere/sub-01_T1w.nii.gz", "/nowhere/entry.vol"] {
            let path = Path::new(name);
            loader.request(path, None);
            loader.wait();
            let ScanState::Done(Err(failure)) = loader.state(path) else {
                panic!("it was read");
            };
            assert!(failure.reason.contains(name), "{}", failure.reason);
        }
    }
}
