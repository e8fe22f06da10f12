//! What recipes refuse, and what changes their hash.

use super::*;

const FAST: &str = EMBEDDED[1].1;

/// The error of the recipe `fast` with one text exchanged: problem, line, key.
fn refusal(old: &str, new: &str) -> (String, usize, String) {
    assert!(FAST.contains(old), "{old}");
    match Recipe::parse(&FAST.replace(old, new), "a.toml") {
        Err(Error::Recipe {
            problem,
            line,
            key,
            origin,
        }) => {
            assert_eq!(origin, "a.toml");
            (problem, line, key)
        }
        other => panic!("{other:?}"),
    }
}

fn check(old: &str, new: &str, problem: &str, key: &str) {
    let (found, line, at) = refusal(old, new);
    assert!(found.contains(problem), "{found}");
    assert_eq!(at, key, "{found}");
    let before = FAST.lines().position(|text| text.contains(old)).unwrap();
    assert_eq!(line, before + 1, "{found}");
}

#[test]
fn every_embedded_recipe_is_known_by_the_name_in_its_file() {
    assert_eq!(
        Recipe::names(),
        ["coarse", "fast", "fine", "published", "standard"]
    );
    for name in Recipe::names() {
        let recipe = Recipe::named(name).unwrap();
        assert_eq!(recipe.name, name);
        if recipe.grid.space == GridSpace::Scan {
            continue;
        }
        // Exchanging left and right must be exact.
        let last = recipe.grid.shape.0[0] - 1;
        let x = |voxel: usize| {
            recipe
                .grid
                .world_from_voxel()
                .apply([voxel as f64, 0.0, 0.0])[0]
        };
        assert_eq!(x(0), -x(last));
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_names_there_are() {
    let error = Recipe::named("best").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown recipe `best`, expected one of `coarse`, `fast`, `fine`, `published`, `standard`"
    );
}

#[test]
fn its_own_toml_gives_the_same_recipe_and_hash() {
    for name in Recipe::names() {
        let recipe = Recipe::named(name).unwrap();
        let again = Recipe::parse(&recipe.to_toml(), "itself").unwrap();
        assert_eq!(again, recipe);
        assert_eq!(again.hash(), recipe.hash());
    }
}

#[test]
fn comments_don_t_change_the_hash_and_every_value_does() {
    let fast = Recipe::named("fast").unwrap();
    let hash_with = |old: &str, new: &str| {
        assert!(FAST.contains(old));
        Recipe::parse(&FAST.replace(old, new), "a.toml")
            .unwrap()
            .hash()
    };
    assert_eq!(
        hash_with("# largest absolute value", "# largest value"),
        fast.hash()
    );
    for (old, new) in [
        ("\"fast\"", "\"other\""),
        ("shape = [96,", "shape = [95,"),
        ("[2.0, 2.0, 2.0]", "[2.0, 2.0, 2.1]"),
        ("-95.0", "-95.5"),
        ("prefilter = \"gaussian\"", "prefilter = \"none\""),
        ("99.8", "99.9"),
        ("clip_at = 5.0", "clip_at = 6.0"),
    ] {
        assert_ne!(hash_with(old, new), fast.hash(), "{new}");
    }
}

#[test]
fn errors_name_line_and_key() {
    check(
        "dof = 12",
        "dof = 9",
        "9 degrees of freedom, expected 12",
        "registration.dof",
    );
    check(
        "[96, 112, 96]",
        "[96, 0, 96]",
        "0 voxels along a side, expected 8",
        "grid.shape",
    );
    check("[96, 112, 96]", "[96, -1, 96]", "-1", "grid.shape");
    check(
        "[2.0, 2.0, 2.0]",
        "[2.0, nan, 2.0]",
        "NaN mm",
        "grid.voxel_size_mm",
    );
    check("-128.0", "inf", "inf mm", "grid.origin_mm");
    check(
        "0.1, 99.8",
        "99.8, 0.1",
        "two ascending numbers",
        "intensity.clip_percentiles",
    );
    check(
        "clip_at = 5.0",
        "clip_at = 0.0",
        "0, expected a number above 0",
        "intensity.clip_at",
    );
    check("\"fast\"", "\"Fast one\"", "name is \"Fast one\"", "name");
    check("source =", "sauce =", "unknown field `sauce`", "mask.sauce");
    check(
        "\"linear\"",
        "\"nearest\"",
        "unknown variant `nearest`",
        "resample.interpolation",
    );
    check("clip_at = 5.0", "clip_at = five", "", "intensity.clip_at");
}

/// The error of the recipe `standard` with one text exchanged.
fn standard_refusal(old: &str, new: &str) -> String {
    let text = EMBEDDED[4].1;
    assert!(text.contains(old), "{old}");
    let refused = Recipe::parse(&text.replace(old, new), "a.toml");
    refused.unwrap_err().to_string()
}

#[test]
fn settings_of_the_bias_field_are_checked_and_unknown_ones_refused() {
    for (old, new, problem, key) in [
        ("levels = 4", "levels = 0", "0 levels, expected 1", "levels"),
        (
            "fwhm = 0.15",
            "fwhm = -1.0",
            "-1, expected a number above 0",
            "fwhm",
        ),
        (
            "noise = 0.01",
            "nose = 0.01",
            "unknown field `nose`",
            "nose",
        ),
        (
            "histogram_bins = 200",
            "histogram_bins = 9999",
            "9999 bins",
            "histogram_bins",
        ),
    ] {
        let refusal = standard_refusal(old, new);
        assert!(refusal.contains(problem), "{refusal}");
        assert!(
            refusal.contains(&format!("key `bias_field.method.n4.{key}`")),
            "{refusal}"
        );
    }
    let refusal = standard_refusal("[bias_field.method.n4]", "[bias_field.method.n5]");
    assert!(refusal.contains("unknown variant `n5`"), "{refusal}");
}

#[test]
fn every_setting_of_the_bias_field_changes_the_hash() {
    let text = EMBEDDED[4].1;
    let standard = Recipe::named("standard").unwrap().hash();
    for (old, new) in [
        ("grid_mm = 4.0", "grid_mm = 5.0"),
        ("levels = 4", "levels = 3"),
        ("iterations = 50", "iterations = 40"),
        ("convergence = 0.001", "convergence = 0.002"),
        ("histogram_bins = 200", "histogram_bins = 100"),
        ("fwhm = 0.15", "fwhm = 0.2"),
        ("noise = 0.01", "noise = 0.02"),
        ("\"refined\"", "\"template\""),
    ] {
        assert!(text.contains(old), "{old}");
        let changed = Recipe::parse(&text.replace(old, new), "a.toml").unwrap();
        assert_ne!(changed.hash(), standard, "{new}");
    }
}

#[test]
fn every_scale_of_intensities_has_a_toml_form() {
    for (table, expected) in [
        (
            "white-stripe = { width = 0.05 }",
            Normalization::WhiteStripe(WhiteStripe { width: 0.05 }),
        ),
        (
            "nyul = { percentiles = [1.0, 50.0, 99.0], landmarks = [-2.0, 0.25, 3.0] }",
            Normalization::Nyul(
                StandardScale::new(vec![1.0, 50.0, 99.0], vec![-2.0, 0.25, 3.0]).unwrap(),
            ),
        ),
    ] {
        let new = format!("normalization = {{ {table} }}");
        let text = FAST.replace("normalization = \"z-score\"", &new);
        let recipe = Recipe::parse(&text, "a.toml").unwrap();
        assert_eq!(recipe.intensity.normalization, expected);
        let again = Recipe::parse(&recipe.to_toml(), "itself").unwrap();
        assert_eq!(again, recipe);
    }
    let falling =
        "normalization = { nyul = { percentiles = [1.0, 99.0], landmarks = [3.0, 2.0] } }";
    let (problem, ..) = refusal("normalization = \"z-score\"", falling);
    assert_eq!(problem, "landmarks don't ascend");
}

#[test]
fn a_missing_key_is_named_with_its_section() {
    let (problem, _, key) = refusal("dof = 12 ", "# ");
    assert_eq!(
        (problem.as_str(), key.as_str()),
        ("missing field `dof`", "registration.dof")
    );
    let (problem, _, key) = refusal("name = \"fast\"", "");
    assert_eq!(
        (problem.as_str(), key.as_str()),
        ("missing field `name`", "name")
    );
}

#[test]
fn an_error_inside_a_list_of_several_lines_names_the_list() {
    let (_, line, key) = refusal("[-95.0, -128.0, -90.0]", "[\n -95.0,\n \"x\",\n -90.0]");
    assert_eq!((line, key.as_str()), (12, "grid.origin_mm"));
}
