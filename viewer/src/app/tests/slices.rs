//! What mouse and keys do in panes and mosaic.

use super::*;

#[test]
fn arrows_move_one_voxel_on_the_screen_and_only_planes_that_changed_are_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    assert_eq!(crosshair(&window), [4, 4, 5]);
    // Radiological: to the right on the screen is to the patient's left.
    press(&mut window, Key::ArrowRight);
    press(&mut window, Key::ArrowUp);
    press(&mut window, Key::PageUp);
    assert_eq!(crosshair(&window), [3, 5, 6]);
    let uploads = Plane::ALL.map(|plane| viewer(&window).n_uploads(plane));
    assert_eq!(uploads, [2, 2, 2]);
    press(&mut window, Key::C);
    window.get_by_label("Neurological");
    press(&mut window, Key::ArrowRight);
    assert_eq!(crosshair(&window), [4, 5, 6]);
    window.get_by_label("Coronal slice").focus();
    window.run();
    press(&mut window, Key::PageDown);
    assert_eq!(crosshair(&window), [4, 4, 6]);
}

#[test]
fn a_click_in_the_mosaic_goes_to_the_slice_of_its_tile() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    press(&mut window, Key::Num5);
    let rect = window.get_by_label("Axial mosaic").rect();
    // The first tile is the lowest slice with something in it, whichever way the tiles are laid out.
    let at = rect.min + Vec2::splat(30.0);
    window.hover_at(at);
    button(&window, at, PointerButton::Primary, true);
    button(&window, at, PointerButton::Primary, false);
    window.run();
    let [lowest, _] = viewer(&window).shown.as_ref().unwrap().scene.content[2];
    assert!(lowest < 5);
    assert_eq!(crosshair(&window)[2], lowest);
}

#[test]
fn a_click_moves_the_crosshair_and_the_wheel_goes_through_slices_or_zooms() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    let center = window.get_by_label("Axial slice").rect().center();
    let at = center + Vec2::new(-60.0, -60.0);
    window.hover_at(at);
    button(&window, at, PointerButton::Primary, true);
    button(&window, at, PointerButton::Primary, false);
    window.run();
    let [x, y, z] = crosshair(&window);
    // Radiological: the left of the picture is the patient's right.
    assert!(x > 4 && y > 4 && z == 5, "{:?}", [x, y, z]);
    wheel(&mut window, -2.0, Modifiers::NONE);
    assert_eq!(crosshair(&window), [x, y, 3]);
    wheel(&mut window, 3.0, Modifiers::COMMAND);
    assert_eq!(crosshair(&window), [x, y, 3]);
    assert!(viewer(&window).shown.as_ref().unwrap().view.zoom > 1.2);
}

#[test]
fn a_double_click_shows_one_pane_alone_and_another_all_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    for expected in [Layout::One(Plane::Coronal), Layout::Three] {
        let at = window.get_by_label("Coronal slice").rect().center();
        window.hover_at(at);
        window.step();
        // All at once: the harness takes a quarter of a second a frame, and egui waits no longer than 0.3.
        for pressed in [true, false, true, false] {
            window.input_mut().events.push(Event::PointerButton {
                pos: at,
                button: PointerButton::Primary,
                pressed,
                modifiers: Modifiers::NONE,
            });
        }
        window.run();
        assert_eq!(viewer(&window).settings.now.layout, expected);
        window.run_steps(4);
    }
}

#[test]
fn a_right_drag_changes_window_and_level_but_not_the_crosshair() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    let center = window.get_by_label("Axial slice").rect().center();
    let before = view(&window).clone();
    let end = center + Vec2::new(80.0, 40.0);
    drag(&mut window, PointerButton::Secondary, center, end);
    let after = view(&window).clone();
    assert!(after.window_level.window > before.window_level.window);
    assert!(after.window_level.level < before.window_level.level);
    assert_eq!(after.crosshair, before.crosshair);
    press(&mut window, Key::A);
    assert_eq!(view(&window).window_level, before.window_level);
}

#[test]
fn the_mosaic_zooms_and_moves_all_its_tiles_and_a_single_plane_shows_the_same_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    press(&mut window, Key::Num5);
    let at = window.get_by_label("Axial mosaic").rect().center();
    window.hover_at(at);
    wheel(&mut window, 3.0, Modifiers::COMMAND);
    let zoom = view(&window).zoom;
    assert!(zoom > 1.2, "{zoom}");
    let moved = view(&window).pan_mm[Plane::Axial.position()];
    let to = at + Vec2::new(30.0, -20.0);
    drag(&mut window, PointerButton::Middle, at, to);
    let by = view(&window).pan_mm[Plane::Axial.position()] - moved;
    // To the right and up on the screen, as far as the pointer went.
    assert!(by.x > 0.0 && by.y < 0.0, "{by:?}");
    assert!((by.x / by.y + 1.5).abs() < 1e-3, "{by:?}");
    let pan = view(&window).pan_mm;
    press(&mut window, Key::Num1);
    assert_eq!((view(&window).zoom, view(&window).pan_mm), (zoom, pan));
    press(&mut window, Key::R);
    assert_eq!(view(&window).pan_mm, [Vec2::ZERO; 3]);
}
