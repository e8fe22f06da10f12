//! Many scans at once: each ends as done, found in the cache, or refused with the reason.
//!
//! Scans are independent: they run in parallel on the rayon pool of the caller, one thread each, and nothing that is
//! wrong with one of them stops the others, not even a panic. Results go to the [`crate::cache`]; where scans come
//! from and what is told to the user is the caller's part.

use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use crate::cache::{Cache, CacheEntry, CacheKey};
use crate::error::Error;
use crate::format::{ReadOptions, open_bytes, read_scan_with};
use crate::preprocess::{Preprocessed, Stage, preprocess_watched};
use crate::recipe::Recipe;
use crate::template::Template;

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
    let make = |scan: &Path| {
        preprocess_watched(scan, batch.read, batch.recipe, batch.template, &mut |_| ())
    };
    run(scans, batch, &make, on_done)
}

/// Takes one scan through the recipe, or finds it in the cache; `after` hears of each stage as it ends.
pub fn preprocess_scan(
    scan: &Path,
    batch: &Batch<'_>,
    after: &(dyn Fn(Stage) + Sync),
) -> ScanReport {
    let begun = Instant::now();
    let make = |scan: &Path| {
        let mut after = |stage| after(stage);
        preprocess_watched(scan, batch.read, batch.recipe, batch.template, &mut after)
    };
    let (outcome, hint) = outcome_of(scan, batch, &make);
    ScanReport {
        scan: scan.to_path_buf(),
        outcome,
        seconds: begun.elapsed().as_secs_f64(),
        hint,
    }
}

/// As [`preprocess_scans`], whatever makes a result of a scan.
fn run(
    scans: &[PathBuf],
    batch: &Batch<'_>,
    make: &(dyn Fn(&Path) -> Result<Preprocessed, Error> + Sync),
    on_done: &(dyn Fn(usize, &ScanReport) + Sync),
) -> Vec<ScanReport> {
    let report = |(idx, scan): (usize, &PathBuf)| {
        if batch.stop.load(Ordering::Relaxed) {
            let outcome = ScanOutcome::Refused {
                reason: STOPPED.to_owned(),
            };
            return ScanReport {
                scan: scan.clone(),
                outcome,
                seconds: 0.0,
                hint: None,
            };
        }
        let begun = Instant::now();
        let (outcome, hint) = outcome_of(scan, batch, make);
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
    // Scans take long and unequal times: they are handed out one by one.
    scans
        .par_iter()
        .enumerate()
        .with_max_len(1)
        .map(report)
        .collect()
}

fn outcome_of(
    scan: &Path,
    batch: &Batch<'_>,
    make: &(dyn Fn(&Path) -> Result<Preprocessed, Error> + Sync),
) -> (ScanOutcome, Option<&'static str>) {
    // Nothing is shared but the cache and the template: a panic leaves neither half-changed.
    let caught = catch_unwind(AssertUnwindSafe(|| cached_or_made(scan, batch, make)));
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

fn cached_or_made(
    scan: &Path,
    batch: &Batch<'_>,
    make: &(dyn Fn(&Path) -> Result<Preprocessed, Error> + Sync),
) -> Result<ScanOutcome, Error> {
    let key_of = |file_hash| Cache::key(file_hash, batch.recipe, batch.template);
    if let Some(file_hash) = hash_of(scan, batch.read)
        && let Some(entry) = batch.cache.get(&key_of(file_hash))?
    {
        return Ok(ScanOutcome::Cached(entry));
    }
    let result = make(scan)?;
    // The bytes that were preprocessed decide the key, even if the file has changed since it was looked up.
    let entry = batch
        .cache
        .put(&key_of(result.file_hash), &result, batch.recipe, scan)?;
    Ok(ScanOutcome::Done(entry))
}

/// The keys of these scans under these recipes: what [`Cache::purge`] is to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysInUse {
    /// A key for every readable scan and recipe.
    pub keys: HashSet<CacheKey>,
    /// Scans that could not be read. Their entries are not among the keys: think twice before purging.
    pub unreadable: Vec<PathBuf>,
}

/// Reads the scans' bytes, in parallel on the rayon pool of the caller, and makes their keys.
pub fn keys_in_use(
    scans: &[PathBuf],
    options: ReadOptions,
    recipes: &[Recipe],
    template: &Template,
) -> KeysInUse {
    let hash_of = |scan: &PathBuf| hash_of(scan, options);
    let hashes: Vec<Option<blake3::Hash>> = scans.par_iter().map(hash_of).collect();
    let mut in_use = KeysInUse::default();
    for (scan, hash) in scans.iter().zip(hashes) {
        match hash {
            Some(hash) => {
                let keys = recipes
                    .iter()
                    .map(|recipe| Cache::key(hash, recipe, template));
                in_use.keys.extend(keys);
            }
            None => in_use.unreadable.push(scan.clone()),
        }
    }
    in_use
}

/// The scan's hash as its reader would give it; `None` for what cannot be read, since reading it will say why.
fn hash_of(scan: &Path, options: ReadOptions) -> Option<blake3::Hash> {
    let opened = open_bytes(scan).ok()??;
    if is_half_of_pair(scan) {
        let read = read_scan_with(scan, options).ok()?;
        return Some(read.file_hash);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(opened.reader).ok()?;
    Some(options.hash_of(hasher.finalize()))
}

/// Whether the scan may be one of two files, whose hash only the reader knows how to make.
fn is_half_of_pair(scan: &Path) -> bool {
    let name = scan
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "hdr" || extension == "img")
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
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::qc::{Qc, QcVerdict};
    use crate::space::{Affine, VoxelShape};
    use crate::template::template;
    use crate::volume::{Mask, Volume};

    struct Cohort {
        _folder: tempfile::TempDir,
        scans: Vec<PathBuf>,
        cache: Cache,
        recipe: Recipe,
        stop: AtomicBool,
    }

    fn cohort(contents: &[&str]) -> Cohort {
        let folder = tempfile::tempdir().unwrap();
        let write = |(i, content): (usize, &&str)| {
            let path = folder.path().join(format!("sub-{i}.nii"));
            fs_err::write(&path, content).unwrap();
            path
        };
        Cohort {
            scans: contents.iter().enumerate().map(write).collect(),
            cache: Cache::open(&folder.path().join("cache")).unwrap(),
            recipe: Recipe::named("coarse").unwrap(),
            stop: AtomicBool::new(false),
            _folder: folder,
        }
    }

    impl Cohort {
        fn run(&self, on_done: &(dyn Fn(usize, &ScanReport) + Sync)) -> Vec<ScanReport> {
            let template = template().unwrap();
            let batch = Batch {
                read: ReadOptions::default(),
                recipe: &self.recipe,
                template,
                cache: &self.cache,
                stop: &self.stop,
            };
            run(&self.scans, &batch, &stand_in, on_done)
        }
    }

    /// Stands in for preprocessing: quick, and as wrong as the scan's text asks for.
    fn stand_in(scan: &Path) -> Result<Preprocessed, Error> {
        let content = fs_err::read(scan).unwrap();
        match content.as_slice() {
            b"panic" => panic!("index out of bounds"),
            b"refuse" => {
                return Err(Error::NoHead {
                    path: scan.to_path_buf(),
                });
            }
            _ => (),
        }
        let (shape, place) = (VoxelShape([2, 1, 1]), Affine::identity());
        Ok(Preprocessed {
            volume: Volume::new(vec![0.0, 1.0], shape, place).unwrap(),
            mask: Mask::new(vec![false, true], shape, place).unwrap(),
            mni_from_scan: place,
            qc: Qc {
                verdict: QcVerdict::Pass,
                reasons: Vec::new(),
                metrics: BTreeMap::new(),
            },
            file_hash: blake3::hash(&content),
            warnings: Vec::new(),
            synthetic: false,
        })
    }

    fn kinds(reports: &[ScanReport]) -> Vec<&str> {
        let kind = |report: &ScanReport| match report.outcome {
            ScanOutcome::Done(_) => "done",
            ScanOutcome::Cached(_) => "cached",
            ScanOutcome::Refused { .. } => "refused",
        };
        reports.iter().map(kind).collect()
    }

    #[test]
    fn a_panic_or_a_refusal_stops_no_other_scan_and_the_order_is_kept() {
        let cohort = cohort(&["a", "panic", "b", "refuse", "c"]);
        let heard = Mutex::new(Vec::new());
        let reports =
            cohort.run(&|idx, report| heard.lock().unwrap().push((idx, report.scan.clone())));
        assert_eq!(
            kinds(&reports),
            ["done", "refused", "done", "refused", "done"]
        );
        assert!(reports.iter().map(|report| &report.scan).eq(&cohort.scans));
        let refusal = |idx: usize| match &reports[idx].outcome {
            ScanOutcome::Refused { reason } => reason.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(1), "internal error (index out of bounds)");
        assert!(refusal(3).starts_with("no head found"), "{}", refusal(3));
        assert!(
            reports[1].hint.is_some() && reports[3].hint.is_some() && reports[0].hint.is_none()
        );
        let mut heard = heard.into_inner().unwrap();
        heard.sort();
        assert!(
            heard
                .into_iter()
                .eq(cohort.scans.iter().cloned().enumerate())
        );
    }

    #[test]
    fn the_second_run_finds_all_in_the_cache() {
        let cohort = cohort(&["a", "b", "c"]);
        let first = cohort.run(&|_, _| ());
        let second = cohort.run(&|_, _| ());
        assert_eq!(kinds(&first), ["done"; 3]);
        assert_eq!(kinds(&second), ["cached"; 3]);
        for (one, two) in first.iter().zip(&second) {
            assert_eq!(one.outcome.entry(), two.outcome.entry());
        }
    }

    #[test]
    fn a_damaged_entry_is_made_again() {
        let cohort = cohort(&["a", "b"]);
        let first = cohort.run(&|_, _| ());
        let path = &first[1].outcome.entry().unwrap().path;
        let good = fs_err::read(path).unwrap();
        fs_err::write(path, &good[..good.len() - 3]).unwrap();
        assert_eq!(kinds(&cohort.run(&|_, _| ())), ["cached", "done"]);
        assert_eq!(fs_err::read(path).unwrap(), good);
    }

    #[test]
    fn a_changed_scan_is_made_again() {
        let cohort = cohort(&["a", "b"]);
        cohort.run(&|_, _| ());
        fs_err::write(&cohort.scans[0], "changed").unwrap();
        assert_eq!(kinds(&cohort.run(&|_, _| ())), ["done", "cached"]);
    }

    #[test]
    fn after_a_stop_no_scan_is_begun() {
        let cohort = cohort(&["a", "b", "c", "d"]);
        let one_thread = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let reports = one_thread.install(|| {
            cohort.run(&|idx, _| {
                assert!(idx < 2, "not begun");
                cohort.stop.store(idx == 1, Ordering::Relaxed);
            })
        });
        assert_eq!(kinds(&reports), ["done", "done", "refused", "refused"]);
        assert_eq!(
            reports[3].outcome,
            ScanOutcome::Refused {
                reason: STOPPED.to_owned()
            }
        );
    }

    #[test]
    fn a_folder_or_a_missing_file_has_no_hash_and_names_of_pairs_are_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(hash_of(folder.path(), ReadOptions::default()), None);
        assert_eq!(
            hash_of(&folder.path().join("absent.nii"), ReadOptions::default()),
            None
        );
        for (name, expected) in [
            ("a.HDR", true),
            ("a.img.gz", true),
            ("a.nii", false),
            ("hdr", false),
        ] {
            assert_eq!(is_half_of_pair(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_keys_in_use_are_those_that_a_run_stores_and_unreadable_scans_are_named() {
        let mut cohort = cohort(&["a", "b"]);
        let template = template().unwrap();
        let stored: HashSet<_> = cohort
            .run(&|_, _| {})
            .iter()
            .map(|report| report.outcome.entry().unwrap().header.key.clone())
            .collect();
        let absent = PathBuf::from("absent.nii");
        cohort.scans.push(absent.clone());
        let recipes = [cohort.recipe.clone(), Recipe::named("fast").unwrap()];
        let options = ReadOptions::default();
        let in_use = keys_in_use(&cohort.scans, options, &recipes, template);
        assert_eq!((in_use.keys.len(), in_use.unreadable), (4, vec![absent]));
        assert_eq!(stored.len(), 2);
        let names: HashSet<_> = in_use.keys.iter().map(CacheKey::to_string).collect();
        assert!(stored.is_subset(&names));
        let second = ReadOptions {
            volume: Some(1),
            ..options
        };
        let others = keys_in_use(&cohort.scans, second, &recipes, template);
        assert!(others.keys.is_disjoint(&in_use.keys));
    }
}
