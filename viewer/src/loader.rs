//! Reads scans away from the window's thread, so that it never stands still.
//!
//! The scan that is wanted is read at once, the next one after it; a scan that nobody waits for any more stops being
//! read within a slab. A scan is shown as soon as it is read; only then the cache is asked for what preprocessing made
//! of it. Kept are the scan that is shown and the one that comes next.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use eframe::egui;

use crate::loaded_scan::{LoadFailure, LoadedScan, load};
use crate::preparation::{Prepared, Preprocessing};

/// Progress is shown as often as this: painting takes time from reading.
const TOLD_EVERY: Duration = Duration::from_millis(150);

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

impl Reading {
    /// Takes in which share has been read, and wakes `ctx` now and then.
    fn heard_of(&self, share: f32, ctx: &egui::Context) -> ControlFlow<()> {
        let percent = (share * 100.0) as u32;
        if percent > self.percent.swap(percent, Ordering::Relaxed) {
            ctx.request_repaint_after(TOLD_EVERY);
        }
        if self.canceled.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

enum Slot {
    Reading(Arc<Reading>),
    Done(Outcome, LookUp),
}

/// Whether the cache has a scan.
enum LookUp {
    UnderWay(Arc<Reading>),
    Ended(Option<Box<Prepared>>),
}

/// What a reading thread has to tell, in this order.
enum News {
    Read(Outcome),
    LookedUp(Option<Box<Prepared>>),
}

/// The reading threads, and what they have read.
pub(crate) struct Loader {
    ctx: egui::Context,
    preprocessing: Option<Arc<Preprocessing>>,
    sender: mpsc::Sender<(Arc<Reading>, News)>,
    news: mpsc::Receiver<(Arc<Reading>, News)>,
    slots: Vec<(PathBuf, Slot)>,
    wanted: Option<PathBuf>,
    next: Option<PathBuf>,
}

impl Loader {
    /// A loader that wakes `ctx` whenever there is news, and looks up in the cache of `preprocessing`.
    pub(crate) fn new(ctx: &egui::Context, preprocessing: Option<Arc<Preprocessing>>) -> Self {
        let (sender, news) = mpsc::channel();
        Self {
            ctx: ctx.clone(),
            preprocessing,
            sender,
            news,
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
                let failure = LoadFailure {
                    reason: format!("not read, since you canceled: `{}`", path.display()),
                    hint: None,
                };
                *slot = Slot::Done(Err(failure), LookUp::Ended(None));
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
            Some((_, Slot::Done(outcome, _))) => ScanState::Done(outcome),
        }
    }

    /// What the cache has of a scan, once it was asked.
    pub(crate) fn prepared(&self, path: &Path) -> Option<&Prepared> {
        match self.slots.iter().find(|(known, _)| known == path)? {
            (_, Slot::Done(_, LookUp::Ended(prepared))) => prepared.as_deref(),
            _ => None,
        }
    }

    /// Whether what was asked for last is still being read or looked up.
    pub(crate) fn is_loading(&self) -> bool {
        let is_wanted = |path: &PathBuf| Some(path) == self.wanted.as_ref();
        let mut slots = self.slots.iter();
        slots.any(|(path, slot)| is_wanted(path) && slot.thread().is_some())
    }

    /// Takes in what has been read since the last frame.
    pub(crate) fn poll(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.take(news);
        }
    }

    /// Blocks until what was asked for last has been read and looked up.
    pub(crate) fn wait(&mut self) {
        self.poll();
        while self.is_loading() {
            // The loader holds a sender itself, so this never fails.
            match self.news.recv() {
                Ok(news) => self.take(news),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, (reading, news): (Arc<Reading>, News)) {
        let is_from = |slot: &Slot| slot.thread().is_some_and(|of| Arc::ptr_eq(of, &reading));
        if let Some((_, slot)) = self.slots.iter_mut().find(|(_, slot)| is_from(slot)) {
            match news {
                News::Read(outcome) => {
                    *slot = Slot::Done(outcome, LookUp::UnderWay(reading));
                }
                News::LookedUp(prepared) => {
                    if let Slot::Done(_, look_up) = slot {
                        *look_up = LookUp::Ended(prepared);
                    }
                }
            }
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
                let tell = |news| {
                    // A send fails only where the viewer is gone.
                    sender.send((Arc::clone(&seen), news)).ok();
                    ctx.request_repaint();
                };
                let mut on_share = |share| seen.heard_of(share, &ctx);
                let read = || load(&file, preprocessing.as_deref(), &mut on_share);
                let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
                    Err(LoadFailure {
                        reason: format!("reading stopped unexpectedly: `{}`", file.display()),
                        hint: Some("look at the terminal, and please report it"),
                    })
                });
                let (outcome, key) = match read {
                    Ok((scan, key)) => (Ok(Arc::new(scan)), key),
                    Err(failure) => (Err(failure), None),
                };
                tell(News::Read(outcome));
                let look_up = || {
                    let cache = preprocessing.as_ref()?.cache.as_ref()?;
                    Prepared::look_up(cache, &key?)
                };
                let prepared = catch_unwind(AssertUnwindSafe(look_up)).unwrap_or(None);
                tell(News::LookedUp(prepared.map(Box::new)));
            });
        let slot = match started {
            Ok(_) => Slot::Reading(reading),
            Err(error) => {
                let failure = LoadFailure {
                    reason: format!("no thread could be started to read it: {error}"),
                    hint: Some("close other programs and try again"),
                };
                Slot::Done(Err(failure), LookUp::Ended(None))
            }
        };
        self.slots.push((path, slot));
    }
}

impl Slot {
    /// The thread that is still at work for it.
    fn thread(&self) -> Option<&Arc<Reading>> {
        match self {
            Self::Reading(reading) | Self::Done(_, LookUp::UnderWay(reading)) => Some(reading),
            Self::Done(_, LookUp::Ended(_)) => None,
        }
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
        assert_eq!(shown.intensities.shape().0, [6, 5, 6]);
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
            let news = loader.news.recv().unwrap();
            loader.take(news);
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
