//! What the viewer remembers from one time to the next, as a small TOML file.
//!
//! Settings say how things are shown, never what. A file that cannot be understood is left as it is, and the viewer
//! begins with what it was made with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::image::plane::{Plane, Sides};
use crate::image::sample::Interpolation;
use crate::image::scene::LayersView;
use crate::jobs::{JobOutcome, Jobs, write_file};
use crate::{StartLayout, StartPanel};

/// How things are shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Which planes.
    pub(crate) layout: Layout,
    /// Dark or light panels.
    pub(crate) theme: Theme,
    /// Between voxels.
    pub(crate) interpolation: Interpolation,
    /// What the wheel does; with Ctrl the other.
    pub(crate) wheel: WheelAction,
    /// What a right drag upward does.
    pub(crate) level_drag: LevelDrag,
    /// Slices in the mosaic.
    pub(crate) mosaic: MosaicSize,
    /// Which panel is open on the right.
    pub(crate) side_panel: SidePanel,
    /// Which way round planes are shown.
    pub(crate) sides: Sides,
    /// What is drawn over the slices.
    pub(crate) marks: Marks,
    /// Layers and their opacities.
    pub(crate) layers: LayersView,
}

/// Which planes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// All three, linked.
    #[default]
    Three,
    /// One.
    One(Plane),
    /// Many slices of one.
    Mosaic(Plane),
}

/// Colors of the panels; slices are always on black.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    /// As reading rooms are.
    #[default]
    Dark,
    /// As offices are.
    Light,
}

/// What the wheel does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WheelAction {
    /// Goes through slices; zooms with Ctrl.
    #[default]
    Slices,
    /// Zooms; goes through slices with Ctrl.
    Zoom,
}

/// What a right drag upward does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LevelDrag {
    /// Raises the level: the picture becomes darker.
    #[default]
    UpIsDarker,
    /// Lowers it.
    UpIsBrighter,
}

/// Slices in the mosaic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MosaicSize(pub(crate) usize);

/// The panel on the right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SidePanel {
    /// What the model says of this scan.
    #[default]
    Prediction,
    /// All scans in plots.
    Cohort,
    /// Layers and contrast.
    Layers,
    /// Learning curves of a run.
    Run,
}

/// What is drawn over the slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Marks {
    /// The lines of the crosshair.
    pub(crate) crosshair: bool,
    /// The letters of the directions.
    pub(crate) letters: bool,
    /// The scale bar.
    pub(crate) scale_bar: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            crosshair: true,
            letters: true,
            scale_bar: true,
        }
    }
}

impl Default for MosaicSize {
    fn default() -> Self {
        Self(20)
    }
}

impl MosaicSize {
    /// What can be chosen.
    pub(crate) const CHOICES: [usize; 5] = [6, 12, 20, 30, 42];
}

impl Layout {
    /// The planes whose size decides the scale.
    pub(crate) fn planes(self) -> Vec<Plane> {
        match self {
            Self::Three => Plane::ALL.to_vec(),
            Self::One(plane) | Self::Mosaic(plane) => vec![plane],
        }
    }
}

impl From<StartLayout> for Layout {
    fn from(layout: StartLayout) -> Self {
        match layout {
            StartLayout::Three => Self::Three,
            StartLayout::Axial => Self::One(Plane::Axial),
            StartLayout::Coronal => Self::One(Plane::Coronal),
            StartLayout::Sagittal => Self::One(Plane::Sagittal),
            StartLayout::Mosaic => Self::Mosaic(Plane::Axial),
        }
    }
}

impl From<StartPanel> for SidePanel {
    fn from(panel: StartPanel) -> Self {
        match panel {
            StartPanel::Prediction => Self::Prediction,
            StartPanel::Cohort => Self::Cohort,
            StartPanel::Layers => Self::Layers,
            StartPanel::Run => Self::Run,
        }
    }
}

/// Settings with the file that keeps them.
pub(crate) struct StoredSettings {
    /// As they are now.
    pub(crate) now: Settings,
    saved: Settings,
    path: Option<PathBuf>,
}

impl StoredSettings {
    /// Reads the file, if there is one; what is wrong with it is the second value.
    pub(crate) fn open(path: Option<PathBuf>) -> (Self, Option<String>) {
        let read = path.as_deref().map_or(Ok(None), read);
        let (now, path, problem) = match read {
            Ok(settings) => (settings.unwrap_or_default(), path, None),
            // It is not written over: it may be of a newer version.
            Err(problem) => (Settings::default(), None, Some(problem)),
        };
        let saved = now.clone();
        (Self { now, saved, path }, problem)
    }

    /// Has them written if they have changed.
    pub(crate) fn save(&mut self, jobs: &mut Jobs) {
        let Some(path) = self.path.clone() else {
            return;
        };
        if self.now == self.saved {
            return;
        }
        self.saved = self.now.clone();
        let settings = self.now.clone();
        jobs.run(move || write(&path, &settings));
    }
}

fn read(path: &Path) -> Result<Option<Settings>, String> {
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("settings cannot be read: {error}")),
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        let what = error.message();
        format!(
            "settings cannot be understood ({what}): `{}`",
            path.display()
        )
    })
}

fn write(path: &Path, settings: &Settings) -> JobOutcome {
    let text = toml::to_string(settings).map_err(|error| format!("settings not saved: {error}"))?;
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder).map_err(|error| format!("settings not saved: {error}"))?;
    }
    write_file(path, text.as_bytes()).map(|_| None)
}

#[cfg(test)]
mod tests {
    use eframe::egui;

    use super::*;
    use crate::image::plane::{Convention, Nose};

    #[test]
    fn what_was_changed_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/viewer.toml");
        let (mut settings, problem) = StoredSettings::open(Some(path.clone()));
        assert_eq!(problem, None);
        settings.now.layout = Layout::Mosaic(Plane::Coronal);
        settings.now.sides.convention = Convention::Neurological;
        settings.now.sides.nose = Nose::Left;
        settings.now.theme = Theme::Light;
        settings.now.layers.template.opacity = 0.25;
        let mut jobs = Jobs::start(&egui::Context::default()).unwrap();
        settings.save(&mut jobs);
        assert_eq!(jobs.finish(), [Ok(None)]);
        let (again, _) = StoredSettings::open(Some(path));
        assert_eq!(again.now, settings.now);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_said_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("viewer.toml");
        fs_err::write(&path, "layout = 7").unwrap();
        let (mut settings, problem) = StoredSettings::open(Some(path.clone()));
        assert!(problem.unwrap().contains("viewer.toml"));
        settings.now.theme = Theme::Light;
        let mut jobs = Jobs::start(&egui::Context::default()).unwrap();
        settings.save(&mut jobs);
        drop(jobs);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "layout = 7");
    }

    #[test]
    fn the_default_is_radiological_with_three_planes() {
        let settings = Settings::default();
        assert_eq!(settings.sides.convention, Convention::Radiological);
        assert_eq!(settings.layout, Layout::Three);
    }
}
