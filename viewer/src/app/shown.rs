//! The scan on the screen: from what was read to a scene, and back to words.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use brainage_pipelines::format::read_scan;
use eframe::egui;

use super::Viewer;
use crate::image::scene::{Scene, Space};
use crate::image::window_level::Presets;
use crate::loaded_scan::LoadedScan;
use crate::loader::ScanState;
use crate::panels::slices::data::{LoadedMap, UnderCrosshair, number, scene_of, under_crosshair};
use crate::panels::slices::ui::Info;
use crate::predictor::Watch;
use crate::preparation::Prepared;
use crate::state::{History, ViewState};
use crate::task::Task;

/// The scan on the screen.
pub(crate) struct Shown {
    /// Its file.
    pub(crate) path: PathBuf,
    /// What was read.
    pub(crate) scan: Arc<LoadedScan>,
    /// What preprocessing made of it.
    pub(crate) prepared: Option<Prepared>,
    /// What lies over it.
    pub(crate) map: Option<LoadedMap>,
    /// What is shown of it.
    pub(crate) scene: Scene,
    /// Where.
    pub(crate) view: ViewState,
    /// What can be undone.
    pub(crate) history: History,
}

impl Viewer {
    /// Brings what is shown up to what was selected and read.
    pub(super) fn refresh_shown(&mut self, ctx: &egui::Context) {
        let Some(subject) = self.subjects.get(self.selected) else {
            self.shown = None;
            return;
        };
        if self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.path != subject.path)
        {
            self.shown = None;
        }
        let ScanState::Done(Ok(scan)) = self.loader.state(&subject.path) else {
            self.shown = None;
            return;
        };
        if let Some(shown) = &self.shown {
            let known = match &shown.prepared {
                None => self.loader.prepared(&shown.path).cloned(),
                Some(_) => None,
            };
            if let Some(prepared) = known {
                self.take_known(prepared);
            }
            return;
        }
        let (path, scan, saliency) = (
            subject.path.clone(),
            Arc::clone(scan),
            subject.saliency.clone(),
        );
        self.n_scenes += 1;
        let known = scan.prepared.as_ref();
        let prepared = known.or_else(|| self.loader.prepared(&path)).cloned();
        let scene = scene_of(self.n_scenes, &scan, prepared.as_ref(), None, Space::Scan);
        self.shown = Some(Shown {
            view: ViewState::new(&scene),
            history: History::default(),
            path: path.clone(),
            prepared,
            map: None,
            scene,
            scan,
        });
        if let Some(map) = saliency {
            self.load_map(ctx, path, map);
        }
        if std::mem::take(&mut self.prepare_first) {
            self.prepare(ctx);
        }
    }

    /// Takes in what the cache has of the scan on the screen.
    fn take_known(&mut self, prepared: Prepared) {
        if let Some(shown) = &mut self.shown {
            shown.prepared = Some(prepared);
            let space = shown.scene.space;
            self.rebuild_scene(space);
        }
    }

    fn load_map(&mut self, ctx: &egui::Context, scan: PathBuf, map: PathBuf) {
        let work = move |watch: Watch<'_>| {
            watch.tell("reading the map", 0.0);
            read_map(&map)
        };
        match Task::start(ctx, "map-loader", work) {
            Ok(task) => self.map_loading = Some((scan, task)),
            Err(reason) => self.complain(reason),
        }
    }

    /// Makes the scene anew, in `space`, at the same place.
    pub(super) fn rebuild_scene(&mut self, space: Space) {
        self.n_scenes += 1;
        let Some(shown) = &mut self.shown else { return };
        let (prepared, map) = (shown.prepared.as_ref(), shown.map.as_ref());
        let scene = scene_of(self.n_scenes, &shown.scan, prepared, map, space);
        let place = shown.scene.grid.world_mm(shown.view.crosshair);
        let mni_from_scan = prepared.map(|prepared| prepared.mni_from_scan);
        let carried = match (shown.scene.space, scene.space) {
            (Space::Scan, Space::Template) => mni_from_scan.map(|affine| affine.apply(place)),
            (Space::Template, Space::Scan) => mni_from_scan
                .and_then(|affine| affine.inverse())
                .map(|affine| affine.apply(place)),
            _ => None,
        };
        shown.view = shown
            .view
            .carried(&shown.scene, &scene, carried.unwrap_or(place));
        shown.scene = scene;
    }

    /// What is under the crosshair.
    pub(super) fn under_crosshair(&self) -> Option<UnderCrosshair> {
        let shown = self.shown.as_ref()?;
        let mni_from_scan = shown
            .prepared
            .as_ref()
            .map(|prepared| &prepared.mni_from_scan);
        Some(under_crosshair(
            &shown.scene,
            shown.view.crosshair,
            mni_from_scan,
        ))
    }

    /// Words beside the slices.
    pub(super) fn info(&self) -> Option<Info> {
        let shown = self.shown.as_ref()?;
        let under = self.under_crosshair()?;
        let subject = self.subjects.get(self.selected)?;
        let mm = |[x, y, z]: [f64; 3]| format!("{x:.1}, {y:.1}, {z:.1} mm");
        let outside = || "outside the scan".to_owned();
        let voxel = under
            .voxel
            .map_or_else(outside, |[i, j, k]| format!("{i}, {j}, {k}"));
        let mut view = vec![("Crosshair, voxel", voxel)];
        view.extend(under.scan_mm.map(|at| ("RAS+", mm(at))));
        view.extend(under.mni_mm.map(|at| ("MNI", mm(at))));
        view.push(("Intensity", under.value.map_or_else(outside, number)));
        let window = shown.view.window_level;
        let words = format!("{}, {}", number(window.window), number(window.level));
        view.push(("Window, level", words));
        view.push(("Zoom", format!("{:.0} %", shown.view.zoom * 100.0)));
        let space = match shown.scene.space {
            Space::Scan => "the scan's",
            Space::Template => "the template's (MNI)",
        };
        view.push(("Space", space.to_owned()));
        let mut file: Vec<(&'static str, String)> = shown.scan.facts.clone();
        let recipe = shown
            .prepared
            .as_ref()
            .map(|prepared| prepared.recipe_name.clone());
        file.extend(recipe.map(|recipe| ("Preprocessed by", recipe)));
        Some(Info {
            title: subject.name.clone(),
            view,
            file,
            warnings: shown.scan.warnings.clone(),
        })
    }
}

/// Reads a map; one whose name has `space-MNI` lies in the template's world.
pub(super) fn read_map(path: &Path) -> Result<LoadedMap, String> {
    let scan = read_scan(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(LoadedMap {
        range: Presets::of(scan.volume.values()).full,
        volume: Arc::new(scan.volume),
        space: if name.contains("space-MNI") {
            Space::Template
        } else {
            Space::Scan
        },
    })
}
