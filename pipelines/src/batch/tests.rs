use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use super::*;
use crate::cache::CacheKey;
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
        let work = Work {
            batch: &batch,
            out: None,
            max_memory: None,
            make: &stand_in,
        };
        work.run(&self.scans, on_done)
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
        brain: None,
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
    let reports = cohort.run(&|idx, report| heard.lock().unwrap().push((idx, report.scan.clone())));
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
    assert!(reports[1].hint.is_some() && reports[3].hint.is_some() && reports[0].hint.is_none());
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
