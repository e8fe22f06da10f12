//! Many scans at once: each ends as done, found in the cache, or refused with the reason.
//!
//! Scans are independent: they run in parallel on the rayon pool of the caller, one thread each, and nothing that is
//! wrong with one of them stops the others, not even a panic. Results go to the [`crate::cache`] and, where asked, to
//! files ([`crate::outputs`]); where scans come from and what is told to the user is the caller's part.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

mod keys;
mod memory;
mod queue;

use rayon::prelude::*;

use crate::cache::{Cache, CacheEntry};
use crate::error::Error;
use crate::format::ReadOptions;
use crate::outputs::{are_there, write_outputs};
use crate::preprocess::{Preprocessed, Stage, go_on, preprocess_watched};
use crate::recipe::Recipe;
use crate::template::Template;
use keys::hash_of;
pub use keys::{KeysInUse, content_hash, keys_in_use};
use memory::SharedMemory;

/// The reason of scans that were not begun because the run was stopped.
pub const STOPPED: &str = "stopped";

/// What a batch of scans has in common.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// What is decided about files that leave something open.
    pub read: ReadOptions,
    /// What is done to each scan.
    pub recipe: &'a Recipe,
    /// What each scan is registered to.
    pub template: &'a Template,
    /// Where results are kept.
    pub cache: &'a Cache,
    /// Once true, no further scan is begun; those in work are finished.
    pub stop: &'a AtomicBool,
}

/// What a batch does beside filling the cache, and what it may take. By default nothing, and as much as it needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchParams<'a> {
    /// Folder for the files of [`crate::outputs`]; a scan whose files cannot be written is refused.
    pub out: Option<&'a Path>,
    /// Most resident memory of the whole program in bytes. So many scans are in work at once as fit, by what their
    /// headers say; a scan that does not fit alone is refused.
    pub max_memory: Option<u64>,
}

/// How a scan ended.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanOutcome {
    /// Preprocessed now.
    Done(CacheEntry),
    /// Found in the cache.
    Cached(CacheEntry),
    /// Not preprocessed.
    Refused {
        /// Why.
        reason: String,
    },
}

impl ScanOutcome {
    /// The entry in the cache, unless the scan was refused.
    pub fn entry(&self) -> Option<&CacheEntry> {
        match self {
            Self::Done(entry) | Self::Cached(entry) => Some(entry),
            Self::Refused { .. } => None,
        }
    }
}

/// What became of one scan.
#[derive(Clone, Debug)]
pub struct ScanReport {
    /// The scan.
    pub scan: PathBuf,
    /// How it ended.
    pub outcome: ScanOutcome,
    /// How long it took.
    pub seconds: f64,
    /// What the user can do about a refusal, where there is something.
    pub hint: Option<&'static str>,
}

/// Takes every scan through the recipe, or finds it in the cache; one report a scan, in the order of `scans`.
///
/// `on_done` hears of each scan as it ends, with its place in `scans`, from any thread and in any order. Scans that
/// were not begun when the run was stopped are refused with the reason [`STOPPED`]; `on_done` does not hear of them.
pub fn preprocess_scans(
    scans: &[PathBuf],
    batch: &Batch<'_>,
    on_done: &(dyn Fn(usize, &ScanReport) + Sync),
) -> Vec<ScanReport> {
    preprocess_scans_with(scans, batch, BatchParams::default(), on_done)
}

/// As [`preprocess_scans`], with files written or memory bounded.
pub fn preprocess_scans_with(
    scans: &[PathBuf],
    batch: &Batch<'_>,
    params: BatchParams<'_>,
    on_done: &(dyn Fn(usize, &ScanReport) + Sync),
) -> Vec<ScanReport> {
    let make = |scan: &Path| {
        preprocess_watched(scan, batch.read, batch.recipe, batch.template, &mut go_on)
    };
    let work = Work {
        batch,
        out: params.out,
        max_memory: params.max_memory,
        make: &make,
    };
    work.run(scans, on_done)
}

/// Takes one scan through the recipe, or finds it in the cache; `after` hears of each stage as it ends. Once the batch is
/// stopped, the scan is given up after the stage under way.
pub fn preprocess_scan(
    scan: &Path,
    batch: &Batch<'_>,
    after: &(dyn Fn(Stage) + Sync),
) -> ScanReport {
    let begun = Instant::now();
    let make = |scan: &Path| {
        let mut after = |stage| {
            after(stage);
            if batch.stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        preprocess_watched(scan, batch.read, batch.recipe, batch.template, &mut after)
    };
    let work = Work {
        batch,
        out: None,
        max_memory: None,
        make: &make,
    };
    let (outcome, hint) = work.outcome_of(scan, None);
    ScanReport {
        scan: scan.to_path_buf(),
        outcome,
        seconds: begun.elapsed().as_secs_f64(),
        hint,
    }
}

/// What a scan has to take before it is begun, and of what; `None` where memory is not bounded.
type Share<'a> = Option<(&'a SharedMemory, u64)>;

/// What is done to every scan, whatever makes a result of it.
struct Work<'a> {
    batch: &'a Batch<'a>,
    out: Option<&'a Path>,
    max_memory: Option<u64>,
    make: &'a (dyn Fn(&Path) -> Result<Preprocessed, Error> + Sync),
}

impl Work<'_> {
    fn run(
        &self,
        scans: &[PathBuf],
        on_done: &(dyn Fn(usize, &ScanReport) + Sync),
    ) -> Vec<ScanReport> {
        let n_threads = rayon::current_num_threads();
        let (needs, memory) = match self.max_memory {
            None => (Vec::new(), None),
            Some(bytes) => {
                let needs: Vec<Option<u64>> =
                    scans.par_iter().map(|scan| self.needed(scan)).collect();
                let known: Vec<u64> = needs.iter().copied().flatten().collect();
                (needs, Some(SharedMemory::of(bytes, &known, n_threads)))
            }
        };
        let report = |idx: usize| {
            let scan = &scans[idx];
            // What cannot be told is refused as soon as it is read.
            let needed = needs.get(idx).copied().flatten();
            let share = memory.as_ref().zip(needed);
            if self.batch.stop.load(Ordering::Relaxed) {
                return stopped(scan);
            }
            let begun = Instant::now();
            let (outcome, hint) = self.outcome_of(scan, share);
            let seconds = begun.elapsed().as_secs_f64();
            let report = ScanReport {
                scan: scan.clone(),
                outcome,
                seconds,
                hint,
            };
            on_done(idx, &report);
            report
        };
        let n_workers = memory.as_ref().map_or(n_threads, SharedMemory::n_workers);
        let reports = queue::in_order(&queue::largest_first(scans), n_workers, report);
        let all = reports.into_iter().zip(scans);
        all.map(|(report, scan)| report.unwrap_or_else(|| stopped(scan)))
            .collect()
    }

    fn needed(&self, scan: &Path) -> Option<u64> {
        let Batch { read, recipe, .. } = *self.batch;
        memory::needed(scan, read, recipe, self.out.is_some())
    }

    fn outcome_of(&self, scan: &Path, share: Share<'_>) -> (ScanOutcome, Option<&'static str>) {
        // Nothing is shared but the cache and the template: a panic leaves neither half-changed.
        let caught = catch_unwind(AssertUnwindSafe(|| self.cached_or_made(scan, share)));
        match caught {
            Ok(Ok(outcome)) => (outcome, None),
            Ok(Err(error)) => (
                ScanOutcome::Refused {
                    reason: error.to_string(),
                },
                error.hint(),
            ),
            Err(payload) => {
                let reason = format!("internal error ({})", message_of(payload.as_ref()));
                (
                    ScanOutcome::Refused { reason },
                    Some("this is a bug in the program: please report it"),
                )
            }
        }
    }

    fn cached_or_made(&self, scan: &Path, share: Share<'_>) -> Result<ScanOutcome, Error> {
        let Batch {
            read,
            recipe,
            template,
            cache,
            ..
        } = *self.batch;
        let key_of = |file_hash| Cache::key(file_hash, recipe, template);
        let known_key = hash_of(scan, read).map(key_of);
        let cached = match &known_key {
            Some(key) => cache.get(key)?,
            None => None,
        };
        if let (Some(entry), Some(key)) = (&cached, &known_key)
            && self.out.is_none_or(|out| are_there(out, scan, key))
        {
            return Ok(ScanOutcome::Cached(entry.clone()));
        }
        let _taken = match share {
            Some((memory, bytes)) => Some(memory.take(bytes, scan)?),
            None => None,
        };
        let (outcome, brain) = if let Some(entry) = cached {
            (ScanOutcome::Cached(entry), None)
        } else {
            let result = (self.make)(scan)?;
            // The bytes that were preprocessed decide the key, even if the file has changed since it was looked up.
            let key = key_of(result.file_hash);
            let entry = cache.put(&key, &result, recipe, scan)?;
            (ScanOutcome::Done(entry), result.brain)
        };
        if let (Some(out), Some(entry)) = (self.out, outcome.entry()) {
            // Of the entry, so that the files are the same whether it was there before or not.
            let mut result = entry.preprocessed()?;
            result.brain = brain;
            write_outputs(out, scan, read, &result, recipe, template)?;
        }
        Ok(outcome)
    }
}

fn stopped(scan: &Path) -> ScanReport {
    let outcome = ScanOutcome::Refused {
        reason: STOPPED.to_owned(),
    };
    ScanReport {
        scan: scan.to_path_buf(),
        outcome,
        seconds: 0.0,
        hint: None,
    }
}

/// What a panic said.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
