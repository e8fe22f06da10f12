//! Scans that the cache knows, and entries of the cache.

use std::path::PathBuf;

use brainage_pipelines::cache::Cache;
use brainage_pipelines::format::read_scan;
use brainage_pipelines::preprocess::Preprocessed;
use brainage_pipelines::qc::{Qc, QcVerdict};
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;
use brainage_pipelines::{Affine, Mask};

use super::*;

/// A scan `sub-01.nii` and how it is preprocessed, with a cache that has it; and the file of its entry.
fn scan_in_cache(folder: &Path) -> (Subject, Preprocessing, PathBuf) {
    let subject = good_and_bad(folder).remove(0);
    let scan = read_scan(&subject.path).unwrap();
    let recipe = Recipe::named("coarse").unwrap();
    let cache = Cache::open(&folder.join("cache")).unwrap();
    let volume = scan.volume;
    let inside = volume.values().iter().map(|value| *value > 500.0).collect();
    let made = Preprocessed {
        mask: Mask::new(inside, volume.shape(), volume.world_from_voxel()).unwrap(),
        volume,
        mni_from_scan: Affine::identity(),
        qc: Qc {
            verdict: QcVerdict::Pass,
            reasons: Vec::new(),
            metrics: std::collections::BTreeMap::new(),
        },
        file_hash: scan.file_hash,
        warnings: Vec::new(),
        synthetic: false,
        brain: None,
    };
    let key = Cache::key(scan.file_hash, &recipe, template().unwrap());
    let entry = cache.put(&key, &made, &recipe, &subject.path).unwrap();
    let cache = Some(cache);
    (subject, Preprocessing { recipe, cache }, entry.path)
}

fn open_prepared(folder: &Path) -> Window {
    let (subject, preprocessing, _) = scan_in_cache(folder);
    open_with(ViewerParams {
        preprocessing: Some(preprocessing),
        ..ViewerParams::new(vec![subject])
    })
}

#[test]
fn what_the_cache_has_of_a_scan_is_found_once_it_is_shown_and_the_view_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open_prepared(folder.path());
    let shown = viewer(&window).shown.as_ref().unwrap();
    assert!(shown.scene.mask.is_some() && shown.scene.template.is_some());
    press(&mut window, Key::V);
    window.get_by_label("MNI space");
}

#[test]
fn before_and_after_are_told_apart_in_the_mosaic_and_the_line_is_dragged_in_any_tile() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open_prepared(folder.path());
    press(&mut window, Key::Num5);
    press(&mut window, Key::B);
    assert_eq!(view(&window).swipe, Some(0.5));
    let rect = window.get_by_label("Axial mosaic").rect();
    // Ten slices in rows of five or less: look for the line of the first tile from its left.
    let tile = (2..=10).map(|columns| rect.width() / columns as f32);
    let y = rect.top() + 20.0;
    let moved = tile.into_iter().any(|width| {
        let from = Pos2::new(rect.left() + width * 0.5, y);
        let to = from + Vec2::new(width * 0.25, 0.0);
        drag(&mut window, PointerButton::Primary, from, to);
        view(&window)
            .swipe
            .is_some_and(|share| (share - 0.75).abs() < 0.02)
    });
    assert!(moved, "{:?}", view(&window).swipe);
}

#[test]
fn from_an_entry_of_the_cache_one_comes_to_its_scan() {
    let folder = tempfile::tempdir().unwrap();
    let (subject, _, entry) = scan_in_cache(folder.path());
    let mut window = open(vec![Subject::from_path(entry.clone())]);
    window.get_by_label("Show its scan").click();
    window.step();
    settle(&mut window);
    let selected = viewer(&window).selected;
    assert_eq!(viewer(&window).subjects[selected].path, subject.path);
    window.get_by_label("8×9×10");

    fs_err::remove_file(&subject.path).unwrap();
    let mut window = open(vec![Subject::from_path(entry)]);
    press(&mut window, Key::V);
    window.get_by_label_contains("not there any more");
}
