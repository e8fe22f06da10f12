//! Reads scans away from the window's thread, so that it never stands still.
//!
//! One worker reads one scan at a time. It gets paths over a bounded channel and gives back a
//! [`LoadedScan`] or the reason why there is none; what was asked for last is read next, and what
//! was overtaken before its turn came is never read. The last few scans stay in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use brainage_pipelines::Volume;
use brainage_pipelines::format::read_scan;
use eframe::egui;

use crate::slice::WindowLevel;

/// How many scans are kept: the one shown and those one is likely to return to.
const KEPT: usize = 3;

/// A scan ready to be shown.
#[derive(Debug)]
pub(crate) struct LoadedScan {
    /// Voxels on RAS+ axes.
    pub(crate) volume: Volume,
    /// Grey values that show most of it.
    pub(crate) window_level: WindowLevel,
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

/// The reading thread, and what it has read.
pub(crate) struct Loader {
    paths: mpsc::SyncSender<PathBuf>,
    outcomes: mpsc::Receiver<(PathBuf, Outcome)>,
    /// What is to be shown, and not read yet.
    wanted: Option<PathBuf>,
    /// What the worker has in hand.
    reading: Option<PathBuf>,
    /// Newest last.
    kept: Vec<(PathBuf, Outcome)>,
}

impl Loader {
    /// Starts the worker; it wakes `ctx` whenever a scan is there, and ends with the loader.
    ///
    /// # Errors
    /// What the system answered where no thread can be had.
    pub(crate) fn start(ctx: &egui::Context) -> std::io::Result<Self> {
        let (paths, to_read) = mpsc::sync_channel::<PathBuf>(1);
        let (read, outcomes) = mpsc::sync_channel(1);
        let ctx = ctx.clone();
        std::thread::Builder::new()
            .name("scan-loader".into())
            .spawn(move || {
                while let Ok(path) = to_read.recv() {
                    let outcome = catch_unwind(AssertUnwindSafe(|| load(&path)))
                        .unwrap_or_else(|_| Err(stopped(&path)));
                    if read.send((path, outcome)).is_err() {
                        return;
                    }
                    ctx.request_repaint();
                }
            })?;
        Ok(Self {
            paths,
            outcomes,
            wanted: None,
            reading: None,
            kept: Vec::new(),
        })
    }

    /// Asks for a scan; a request that has not been begun is dropped for it.
    pub(crate) fn request(&mut self, path: &Path) {
        if let Some(at) = self.kept.iter().position(|(kept, _)| kept == path) {
            let entry = self.kept.remove(at);
            self.kept.push(entry);
            self.wanted = None;
        } else {
            self.wanted = Some(path.to_path_buf());
            self.begin();
        }
    }

    /// Forgets what was read from a file, so that the next request reads it again.
    pub(crate) fn forget(&mut self, path: &Path) {
        self.kept.retain(|(kept, _)| kept != path);
    }

    /// Whether what was asked for last is still being read.
    pub(crate) fn is_loading(&self) -> bool {
        self.wanted.is_some()
    }

    /// Takes in what has been read since the last frame.
    pub(crate) fn poll(&mut self) {
        while let Ok(read) = self.outcomes.try_recv() {
            self.take(read);
        }
    }

    /// Blocks until what was asked for last has been read.
    pub(crate) fn wait(&mut self) {
        while self.is_loading() {
            match self.outcomes.recv() {
                Ok(read) => self.take(read),
                Err(_) => self.wanted = None,
            }
        }
    }

    /// What came of a scan; `None` where it has not been read, or not kept.
    pub(crate) fn outcome(&self, path: &Path) -> Option<&Outcome> {
        self.kept
            .iter()
            .find(|(kept, _)| kept == path)
            .map(|(_, outcome)| outcome)
    }

    fn take(&mut self, (path, outcome): (PathBuf, Outcome)) {
        self.reading = None;
        self.wanted.take_if(|wanted| *wanted == path);
        self.kept.push((path, outcome));
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
        self.begin();
    }

    /// Hands the wanted path to the worker if that is idle; so the channel is never full.
    fn begin(&mut self) {
        if self.reading.is_none()
            && let Some(path) = &self.wanted
        {
            if self.paths.try_send(path.clone()).is_ok() {
                self.reading = Some(path.clone());
            } else {
                self.wanted = None;
            }
        }
    }
}

fn stopped(path: &Path) -> LoadFailure {
    LoadFailure {
        reason: format!("reading stopped unexpectedly: `{}`", path.display()),
        hint: Some("look at the terminal, and please report it"),
    }
}

fn load(path: &Path) -> Outcome {
    let scan = read_scan(path).map_err(|error| LoadFailure {
        reason: error.to_string(),
        hint: error.hint(),
    })?;
    let (header, volume) = (scan.header, scan.volume);
    let [x, y, z] = volume.voxel_size_mm();
    let compression = if header.gzipped { ", gzipped" } else { "" };
    let facts = vec![
        ("Format", format!("{}{compression}", header.format)),
        ("Data type", header.datatype.to_owned()),
        ("Voxels", volume.shape().to_string()),
        ("Voxel size", format!("{x:.2} × {y:.2} × {z:.2} mm")),
        ("Stored as", header.world_from_stored.orientation()),
    ];
    let window_level = WindowLevel::auto(volume.values());
    Ok(Arc::new(LoadedScan {
        volume,
        window_level,
        facts,
        warnings: header.warnings,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom;

    #[test]
    fn of_three_scans_asked_for_at_once_the_last_is_there_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("scan-{i}.nii"));
        for i in 0..3 {
            phantom::write(&path(i), [4 + i, 5, 6]);
        }
        let mut loader = Loader::start(&egui::Context::default()).unwrap();
        for i in 0..3 {
            loader.request(&path(i));
        }
        loader.wait();
        let shown = loader.outcome(&path(2)).unwrap().as_ref().unwrap();
        assert_eq!(shown.volume.shape().0, [6, 5, 6]);
        assert!(
            loader.outcome(&path(1)).is_none(),
            "it was overtaken before its turn came"
        );
    }

    #[test]
    fn no_more_scans_are_kept_than_there_is_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("scan-{i}.nii"));
        let mut loader = Loader::start(&egui::Context::default()).unwrap();
        for i in 0..=KEPT {
            phantom::write(&path(i), [4, 4, 4]);
            loader.request(&path(i));
            loader.wait();
        }
        assert!(loader.outcome(&path(0)).is_none());
        assert!((1..=KEPT).all(|i| loader.outcome(&path(i)).is_some_and(Result::is_ok)));
    }

    #[test]
    fn a_missing_file_is_a_failure_that_names_it() {
        let mut loader = Loader::start(&egui::Context::default()).unwrap();
        let path = Path::new("/nowhere/sub-01_T1w.nii.gz");
        loader.request(path);
        loader.wait();
        let failure = loader.outcome(path).unwrap().as_ref().unwrap_err();
        assert!(
            failure.reason.contains("sub-01_T1w.nii.gz"),
            "{}",
            failure.reason
        );
    }
}
