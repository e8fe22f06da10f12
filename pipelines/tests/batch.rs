//! A folder of scans through the whole of preprocessing, by the public functions alone.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use brainage_pipelines::batch::{Batch, ScanOutcome, ScanReport, preprocess_scans};
use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::ReadOptions;
use brainage_pipelines::format::write_nifti;
use brainage_pipelines::outputs::write_outputs;
use brainage_pipelines::quality_page::{RefusedScan, write_quality_page};
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_pipelines::{Affine, Volume, VoxelShape};

/// The template's head on a coarser grid, moved by `shift_mm`.
fn write_head(path: &Path, shift_mm: f64) -> Result<(), Box<dyn Error>> {
    let t1 = &template()?.t1;
    let shape = VoxelShape([64, 76, 64]);
    let values = (0..shape.n_voxels())
        .map(|i| {
            t1.get([i % 64 * 3, i / 64 % 76 * 3, i / 64 / 76 * 3])
                .unwrap_or(0.0)
        })
        .collect();
    let origin = t1.world_from_voxel().translation();
    let place = Affine::grid(
        [3.0; 3],
        [origin[0] + shift_mm, origin[1], origin[2] - shift_mm],
    );
    write_nifti(path, &Volume::new(values, shape, place)?, "head")?;
    Ok(())
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
fn a_truncated_scan_is_refused_the_others_are_done_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let scans: Vec<PathBuf> = ["sub-1.nii.gz", "sub-2.nii.gz", "sub-3.nii"]
        .map(path)
        .into();
    write_head(&scans[0], 0.0).unwrap();
    write_head(&scans[2], 6.0).unwrap();
    let whole = fs_err::read(&scans[0]).unwrap();
    fs_err::write(&scans[1], &whole[..whole.len() / 2]).unwrap();

    let recipe = Recipe::named("coarse").unwrap();
    let cache = Cache::open(&path("cache")).unwrap();
    let (template, stop) = (template().unwrap(), AtomicBool::new(false));
    let batch = Batch {
        read: ReadOptions::default(),
        recipe: &recipe,
        template,
        cache: &cache,
        stop: &stop,
    };
    let first = preprocess_scans(&scans, &batch, &|_, _| ());
    assert_eq!(kinds(&first), ["done", "refused", "done"], "{first:#?}");
    assert!(first.iter().map(|report| &report.scan).eq(&scans));
    let ScanOutcome::Refused { reason } = &first[1].outcome else {
        panic!("{first:#?}")
    };
    assert!(
        reason.contains("sub-2.nii.gz") && first[1].hint.is_some(),
        "{reason}"
    );
    assert_eq!(cache.len().unwrap(), 2);

    let second = preprocess_scans(&scans, &batch, &|_, _| ());
    assert_eq!(kinds(&second), ["cached", "refused", "cached"]);
    for (one, two) in first.iter().zip(&second) {
        assert_eq!(one.outcome.entry(), two.outcome.entry());
    }

    // The head was moved by a known way, so registration must move it back; 1 mm is a third of a voxel.
    let entry = second[2].outcome.entry().unwrap();
    let center = entry.header.mni_from_scan.apply([6.0, -20.0, -1.0]);
    let distance: f64 = center
        .iter()
        .zip([0.0, -20.0, 5.0])
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    assert!(distance.sqrt() < 1.0, "{center:?}");

    let result = entry.preprocessed().unwrap();
    let files = write_outputs(
        &path("out"),
        &scans[2],
        batch.read,
        &result,
        &recipe,
        template,
    )
    .unwrap();
    assert_eq!(files.len(), 6);

    // The page is made of what was just written, and of what was refused.
    let page = write_quality_page(&path("out"), &RefusedScan::of(&second)).unwrap();
    let page = fs_err::read_to_string(page).unwrap();
    for text in [
        "<h3>sub-2.nii.gz</h3>",
        "<h3>sub-3</h3>",
        "sub-3_qc.png",
        "recipe coarse",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("Unreadable"));
}
