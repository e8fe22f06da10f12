//! A batch stays within the memory that it was given. The only test of its file: what is measured is the whole process.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use brainage_pipelines::batch::{
    Batch, BatchParams, ScanOutcome, ScanReport, preprocess_scans_with,
};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::{ReadOptions, write_nifti};
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_pipelines::{Affine, Volume, VoxelShape};

const N_SCANS: usize = 4;

/// The template's head on its own grid, brighter by a little: each scan is another one.
fn write_head(path: &Path, gain: f32) {
    let t1 = &template().expect("the template").t1;
    let values = t1.values().iter().map(|value| value * gain).collect();
    let place = Affine::grid([1.0; 3], t1.world_from_voxel().translation().into());
    let head = Volume::new(values, t1.shape(), place).expect("a head");
    write_nifti(path, &head, "head").expect("written");
}

/// The most resident memory since the last call in bytes, and forgets it; `None` where the system does not tell.
fn peak() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kb: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    fs_err::write("/proc/self/clear_refs", "5").ok()?;
    Some(1024 * kb)
}

fn n_done(reports: &[ScanReport]) -> usize {
    let done = |report: &&ScanReport| matches!(report.outcome, ScanOutcome::Done(_));
    reports.iter().filter(done).count()
}

#[test]
fn as_many_scans_are_in_work_as_fit_into_the_memory_and_none_that_does_not_fit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |i: usize| folder.path().join(format!("sub-{i}.nii"));
    let scans: Vec<PathBuf> = (0..N_SCANS).map(path).collect();
    for (i, scan) in scans.iter().enumerate() {
        write_head(scan, 1.0 + 0.01 * i as f32);
    }
    let recipe = Recipe::named("coarse").unwrap();
    let (template, stop) = (template().unwrap(), AtomicBool::new(false));
    let run = |max_memory: Option<u64>| {
        let cache = Cache::open(tempfile::tempdir_in(folder.path()).unwrap().path()).unwrap();
        let batch = Batch {
            read: ReadOptions::default(),
            recipe: &recipe,
            template,
            cache: &cache,
            stop: &stop,
        };
        let params = BatchParams {
            max_memory,
            ..BatchParams::default()
        };
        let four = rayon::ThreadPoolBuilder::new().num_threads(N_SCANS).build();
        four.unwrap()
            .install(|| preprocess_scans_with(&scans, &batch, params, &|_, _| ()))
    };

    let VoxelShape([x, y, z]) = template.t1.shape();
    let copy = 4 * (x * y * z) as u64;
    let one_at_a_time = 450_000_000;
    let refused = run(Some(250_000_000));
    assert_eq!(n_done(&refused), 0);
    let ScanOutcome::Refused { reason } = &refused[3].outcome else {
        panic!("{refused:?}")
    };
    assert!(
        reason.starts_with("needs about ") && reason.contains("more than the 250 MB allowed"),
        "{reason}"
    );
    assert!(refused[3].hint.is_some());

    if peak().is_none() {
        println!("skipped: the system does not tell how much memory a process has had");
        return;
    }
    assert_eq!(n_done(&run(Some(one_at_a_time))), N_SCANS);
    let bounded = peak().unwrap();
    println!("bounded: {} MB", bounded / 1_000_000);
    assert!(bounded <= one_at_a_time, "{bounded} bytes");

    assert_eq!(n_done(&run(None)), N_SCANS);
    let free = peak().unwrap();
    println!("not bounded: {} MB", free / 1_000_000);
    // Each of the others has at least the scan and one copy of it.
    assert!(
        free > bounded + (N_SCANS as u64 - 1) * copy,
        "{free} and {bounded} bytes: would the bound have been kept anyway?"
    );
}
