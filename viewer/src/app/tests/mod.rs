//! The viewer as its user meets it, without a display: clicks, keys and what is then on the screen.

mod cache;
mod slices;
mod work;

use std::path::Path;
use std::time::{Duration, Instant};

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelUnit, PointerButton, Pos2, Role, TouchPhase, Vec2,
};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::*;
use crate::image::plane::{Convention, Plane};
use crate::predictor::Watch;
use crate::settings::Layout;
use crate::state::ViewState;

type Window = Harness<'static, Option<Viewer>>;

fn open(subjects: Vec<Subject>) -> Window {
    open_with(ViewerParams::new(subjects))
}

fn open_with(params: ViewerParams) -> Window {
    let mut params = Some(params);
    let mut window = Harness::builder()
        .with_size(Vec2::new(1400.0, 900.0))
        // The threads of loading and saving ask for a frame whenever they are done, so that a window settles a few steps
        // later on a slow machine; one that never settles still fails.
        .with_max_steps(64)
        .build_ui_state(
            move |ui, state: &mut Option<Viewer>| {
                let viewer = state
                    .get_or_insert_with(|| Viewer::new(ui.ctx(), params.take().unwrap()).unwrap());
                viewer.ui(ui);
            },
            None,
        );
    settle(&mut window);
    window
}

fn settle(window: &mut Window) {
    window.step();
    let ctx = window.ctx.clone();
    viewer_mut(window).finish_loading(&ctx);
    window.run();
    assert!(!viewer(window).is_loading());
}

/// Steps until something that a thread does is done.
fn wait_until(window: &mut Window, what: &str, is_done: impl Fn(&Viewer) -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_done(viewer(window)) {
        assert!(Instant::now() < deadline, "{what} did not end");
        std::thread::yield_now();
        window.step();
    }
    window.run();
}

fn viewer(window: &Window) -> &Viewer {
    window.state().as_ref().unwrap()
}

fn viewer_mut(window: &mut Window) -> &mut Viewer {
    window.state_mut().as_mut().unwrap()
}

fn view(window: &Window) -> &ViewState {
    &viewer(window).shown.as_ref().unwrap().view
}

fn crosshair(window: &Window) -> [usize; 3] {
    view(window).crosshair
}

fn press(window: &mut Window, key: Key) {
    window.key_press(key);
    window.run();
}

/// A scan of 8 × 9 × 10 voxels named `sub-01`, and a text file named `sub-02`.
fn good_and_bad(folder: &Path) -> Vec<Subject> {
    let (good, bad) = (folder.join("sub-01.nii"), folder.join("sub-02.nii"));
    crate::phantom::write(&good, [8, 9, 10]);
    fs_err::write(&bad, "no scan at all").unwrap();
    let mut subjects = vec![Subject::from_path(good), Subject::from_path(bad)];
    subjects[0].age_years = Some(60.0);
    subjects
}

fn button(window: &Window, pos: Pos2, button: PointerButton, pressed: bool) {
    window.event(Event::PointerButton {
        pos,
        button,
        pressed,
        modifiers: Modifiers::NONE,
    });
}

/// Presses a button at `from` and releases it at `to`.
fn drag(window: &mut Window, which: PointerButton, from: Pos2, to: Pos2) {
    window.hover_at(from);
    button(window, from, which, true);
    for i in 1..=4u8 {
        window.hover_at(from.lerp(to, f32::from(i) / 4.0));
    }
    button(window, to, which, false);
    window.run();
}

fn wheel(window: &mut Window, lines: f32, modifiers: Modifiers) {
    window.event(Event::MouseWheel {
        unit: MouseWheelUnit::Line,
        delta: Vec2::new(0.0, lines),
        phase: TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers,
    });
    window.run_steps(30);
}

#[test]
fn opening_a_scan_shows_the_middle_slice_of_its_three_planes() {
    let folder = tempfile::tempdir().unwrap();
    let window = open(good_and_bad(folder.path()));
    let values = [
        ("Axial", "6 of 10"),
        ("Sagittal", "5 of 8"),
        ("Coronal", "5 of 9"),
    ];
    for (plane, expected) in values {
        let name = format!("{plane} slice");
        let pane = window.get_by_role_and_label(Role::Slider, &name);
        // 1 + 4 + 10·4 + 100·5
        assert_eq!(pane.value(), Some(format!("{expected}, intensity 545")));
    }
    window.get_by_label("8×9×10");
    window.get_by_label("Radiological");
    assert!(
        Plane::ALL
            .iter()
            .all(|plane| viewer(&window).n_uploads(*plane) == 1)
    );
}

#[test]
fn numbers_choose_the_layout_and_changes_can_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    press(&mut window, Key::Num2);
    assert!(window.query_by_label("Axial slice").is_none());
    window.get_by_label("Coronal slice");
    press(&mut window, Key::Num5);
    window.get_by_label("Axial mosaic");
    press(&mut window, Key::Num5);
    let mosaic = window.get_by_label("Coronal mosaic");
    assert_eq!(mosaic.value().unwrap(), "9 slices, crosshair in slice 5");
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.run();
    assert_ne!(
        viewer(&window).settings.now.layout,
        Layout::Mosaic(Plane::Coronal)
    );
    press(&mut window, Key::Num4);
    window.get_by_label("Sagittal slice");
}

#[test]
fn an_unreadable_scan_shows_its_reason_and_the_viewer_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    window.get_by_label_contains("sub-02,").click();
    window.step();
    window.step();
    settle(&mut window);
    window.get_by_label_contains("sub-02.nii`");
    window.get_by_label("Try again");
    assert!(window.query_by_label("Axial slice").is_none());
    window.key_press(Key::P);
    settle(&mut window);
    window.get_by_label("Axial slice");
}

#[test]
fn every_screen_and_the_about_box_say_that_it_is_no_medical_device() {
    let mut window = open(Vec::new());
    window.get_by_label(DISCLAIMER);
    window.get_by_label("About").click();
    window.run();
    window.get_by_label_contains("Do not use it for diagnosis");
    window.get_by_label("Close").click();
    window.run();
    assert!(window.query_by_label("Close").is_none());
    press(&mut window, Key::Questionmark);
    window.get_by_label("Keys and mouse");
    window.get_by_label("next scan");
    press(&mut window, Key::Escape);
    assert!(window.query_by_label("Keys and mouse").is_none());
}
