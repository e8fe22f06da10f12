//! Everything a user can do, as one enum, and the keys that do it.
//!
//! Panels and keys only say *what*; `crate::app` does it. The list of keys is also what the help shows.

use std::path::PathBuf;

use eframe::egui::{Key, Modifiers};

use crate::image::plane::Plane;
use crate::image::window_level::Preset;
use crate::review::Verdict;
use crate::settings::Layout;

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Shows the dialog for files.
    OpenFiles,
    /// Shows the dialog for a folder.
    OpenFolder,
    /// Adds scans, folders, runs and tables.
    OpenPaths(Vec<PathBuf>),
    /// Shows the subject at this place in the order given.
    Select(usize),
    /// The next scan of the list, as it is sorted and filtered.
    NextScan,
    /// The one before.
    PreviousScan,
    /// Reads the scan again.
    ReadAgain,
    /// Stops reading it.
    CancelReading,
    /// Which panes.
    Show(Layout),
    /// One plane from several, and back.
    Maximize(Plane),
    /// Goes on or back by so many slices of the active plane.
    Slice(isize),
    /// Moves the crosshair on the screen of the active plane: right, up.
    Move([isize; 2]),
    /// Whether the crosshair is drawn.
    SwitchCrosshair,
    /// Whether the letters are drawn.
    SwitchLetters,
    /// Which side is left.
    SwitchConvention,
    /// Where the nose is in sagittal slices.
    SwitchNose,
    /// Squares or smooth.
    SwitchInterpolation,
    /// The space of the scan or of the template.
    SwitchSpace,
    /// Before and after preprocessing side by side.
    SwitchSwipe,
    /// The outline of the brain mask.
    SwitchMask,
    /// The overlay that was switched last: template or map.
    SwitchOverlay,
    /// Its opacity.
    ChangeOpacity(f32),
    /// A window.
    Window(Preset),
    /// Zoom, pan and window as in the beginning.
    ResetView,
    /// The view before the last change.
    Undo,
    /// The view that was undone.
    Redo,
    /// Finds registration, mask and bias field.
    Prepare,
    /// Gives that up.
    CancelPreparation,
    /// Asks the model.
    Predict,
    /// Gives that up.
    CancelPrediction,
    /// Puts the place of the crosshair into the clipboard.
    CopyCoordinates,
    /// Asks for a file, then writes the slices as they are shown.
    SavePicture,
    /// Asks for a file, then writes a mosaic of each plane.
    SaveMontage,
    /// Asks for a file, then writes the list.
    SaveList,
    /// Writes what was asked for to the file that was named.
    Save(SaveKind, PathBuf),
    /// Begins to judge scans one by one, or ends it.
    SwitchReview,
    /// Judges the scan and goes to the next one.
    Judge(Verdict),
    /// Puts the keyboard into the comment.
    WriteComment,
    /// Dark or light.
    SwitchTheme,
    /// All keys.
    SwitchHelp,
    /// What this is.
    SwitchAbout,
}

/// What is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveKind {
    /// The slices as they are shown, PNG.
    Picture,
    /// A mosaic of each plane, PNG.
    Montage,
    /// The list, CSV.
    List,
}

/// A key and what it does.
pub(crate) struct Binding {
    /// With which other keys.
    pub(crate) modifiers: Modifiers,
    /// The key.
    pub(crate) key: Key,
    /// As the help shows it.
    pub(crate) shown: &'static str,
    /// What it does, in words.
    pub(crate) words: &'static str,
    /// What it does.
    pub(crate) command: Command,
}

/// Every key, in the order of the help.
pub(crate) fn bindings() -> Vec<Binding> {
    let mut all = scan_keys();
    all.extend(layout_keys());
    all.extend(crosshair_keys());
    all.extend(look_keys());
    all.extend(file_keys());
    all
}

const PLAIN: Modifiers = Modifiers::NONE;
const COMMAND: Modifiers = Modifiers::COMMAND;

fn binding(
    modifiers: Modifiers,
    key: Key,
    shown: &'static str,
    words: &'static str,
    command: Command,
) -> Binding {
    Binding {
        modifiers,
        key,
        shown,
        words,
        command,
    }
}

fn scan_keys() -> Vec<Binding> {
    let redo = COMMAND | Modifiers::SHIFT;
    vec![
        binding(PLAIN, Key::N, "N", "next scan", Command::NextScan),
        binding(PLAIN, Key::P, "P", "previous scan", Command::PreviousScan),
        binding(
            PLAIN,
            Key::Q,
            "Q",
            "judge scans one by one",
            Command::SwitchReview,
        ),
        binding(
            PLAIN,
            Key::Y,
            "Y",
            "accept the scan",
            Command::Judge(Verdict::Accept),
        ),
        binding(
            PLAIN,
            Key::U,
            "U",
            "reject the scan",
            Command::Judge(Verdict::Reject),
        ),
        binding(
            PLAIN,
            Key::K,
            "K",
            "comment on the scan",
            Command::WriteComment,
        ),
        binding(redo, Key::Z, "Ctrl+Shift+Z", "redo", Command::Redo),
        binding(
            COMMAND,
            Key::Z,
            "Ctrl+Z",
            "undo a change of the view",
            Command::Undo,
        ),
    ]
}

fn layout_keys() -> Vec<Binding> {
    let one = |plane| Command::Show(Layout::One(plane));
    let mosaic = Command::Show(Layout::Mosaic(Plane::Axial));
    vec![
        binding(PLAIN, Key::Num1, "1", "axial plane", one(Plane::Axial)),
        binding(PLAIN, Key::Num2, "2", "coronal plane", one(Plane::Coronal)),
        binding(
            PLAIN,
            Key::Num3,
            "3",
            "sagittal plane",
            one(Plane::Sagittal),
        ),
        binding(
            PLAIN,
            Key::Num4,
            "4",
            "three planes",
            Command::Show(Layout::Three),
        ),
        binding(
            PLAIN,
            Key::Num5,
            "5",
            "mosaic; again for the next plane",
            mosaic,
        ),
    ]
}

fn crosshair_keys() -> Vec<Binding> {
    vec![
        binding(PLAIN, Key::PageUp, "PgUp", "next slice", Command::Slice(1)),
        binding(
            PLAIN,
            Key::PageDown,
            "PgDn",
            "previous slice",
            Command::Slice(-1),
        ),
        binding(
            PLAIN,
            Key::ArrowLeft,
            "Left",
            "one voxel left",
            Command::Move([-1, 0]),
        ),
        binding(
            PLAIN,
            Key::ArrowRight,
            "Right",
            "one voxel right",
            Command::Move([1, 0]),
        ),
        binding(
            PLAIN,
            Key::ArrowUp,
            "Up",
            "one voxel up",
            Command::Move([0, 1]),
        ),
        binding(
            PLAIN,
            Key::ArrowDown,
            "Down",
            "one voxel down",
            Command::Move([0, -1]),
        ),
    ]
}

/// Sides, layers and contrast.
fn look_keys() -> Vec<Binding> {
    let auto = Command::Window(Preset::Auto);
    vec![
        binding(PLAIN, Key::X, "X", "crosshair", Command::SwitchCrosshair),
        binding(PLAIN, Key::L, "L", "letters", Command::SwitchLetters),
        binding(
            PLAIN,
            Key::C,
            "C",
            "radiological or neurological",
            Command::SwitchConvention,
        ),
        binding(
            PLAIN,
            Key::S,
            "S",
            "nose left or right in sagittal slices",
            Command::SwitchNose,
        ),
        binding(
            PLAIN,
            Key::I,
            "I",
            "nearest or linear interpolation",
            Command::SwitchInterpolation,
        ),
        binding(
            PLAIN,
            Key::V,
            "V",
            "space of the scan or of the template",
            Command::SwitchSpace,
        ),
        binding(
            PLAIN,
            Key::B,
            "B",
            "before and after preprocessing",
            Command::SwitchSwipe,
        ),
        binding(PLAIN, Key::M, "M", "brain mask", Command::SwitchMask),
        binding(PLAIN, Key::O, "O", "overlay", Command::SwitchOverlay),
        binding(
            PLAIN,
            Key::OpenBracket,
            "[",
            "overlay fainter",
            Command::ChangeOpacity(-0.1),
        ),
        binding(
            PLAIN,
            Key::CloseBracket,
            "]",
            "overlay stronger",
            Command::ChangeOpacity(0.1),
        ),
        binding(PLAIN, Key::A, "A", "automatic contrast", auto),
        binding(
            PLAIN,
            Key::R,
            "R",
            "reset zoom and contrast",
            Command::ResetView,
        ),
    ]
}

fn file_keys() -> Vec<Binding> {
    let montage = COMMAND | Modifiers::SHIFT;
    vec![
        binding(COMMAND, Key::O, "Ctrl+O", "open files", Command::OpenFiles),
        binding(
            montage,
            Key::S,
            "Ctrl+Shift+S",
            "save a montage",
            Command::SaveMontage,
        ),
        binding(
            COMMAND,
            Key::S,
            "Ctrl+S",
            "save a picture",
            Command::SavePicture,
        ),
        binding(
            COMMAND,
            Key::E,
            "Ctrl+E",
            "save the list as CSV",
            Command::SaveList,
        ),
        binding(
            COMMAND,
            Key::K,
            "Ctrl+K",
            "copy the coordinates",
            Command::CopyCoordinates,
        ),
        binding(
            PLAIN,
            Key::T,
            "T",
            "dark or light panels",
            Command::SwitchTheme,
        ),
        binding(
            PLAIN,
            Key::Questionmark,
            "?",
            "these keys",
            Command::SwitchHelp,
        ),
        binding(PLAIN, Key::F1, "F1", "about", Command::SwitchAbout),
    ]
}

/// What the mouse does, for the help.
pub(crate) const MOUSE: [(&str, &str); 6] = [
    ("Left click or drag", "crosshair"),
    ("Wheel", "slices; with Ctrl: zoom"),
    ("Right drag", "contrast: sideways window, up and down level"),
    ("Middle drag", "move the picture"),
    ("Double click", "this plane alone, and back"),
    ("Drag the white line", "before and after preprocessing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things_and_longer_combinations_are_looked_for_first() {
        let all = bindings();
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                let same = (one.key, one.modifiers) == (other.key, other.modifiers);
                assert!(!same, "{}", one.shown);
                // egui takes Ctrl+Shift+S for Ctrl+S, too: the longer one must be asked first.
                let shadowed = one.key == other.key
                    && !one.modifiers.shift
                    && other.modifiers.shift
                    && one.modifiers.command == other.modifiers.command;
                assert!(!shadowed, "{}", one.shown);
            }
        }
    }
}
