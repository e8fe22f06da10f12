//! The program as its user runs it: what it answers, where, and with which exit code.

mod program;

use std::path::Path;

use serde_json::Value;

use program::{brainage, check_refusal};

const COMMANDS: [&str; 15] = [
    "demo",
    "init",
    "synth",
    "index",
    "info",
    "preprocess",
    "train",
    "predict",
    "evaluate",
    "report",
    "view",
    "worker",
    "model",
    "bench",
    "doctor",
];

/// A NIfTI-1 file of 4 × 5 × 6 int16 voxels of 2 × 1.5 × 3 mm, stored LAS; voxel `[i, j, k]` holds `i + 10·j + 100·k`.
fn small_scan() -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &348_i32.to_le_bytes());
    for (i, n) in [3_i16, 4, 5, 6, 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &4_i16.to_le_bytes());
    put(72, &16_i16.to_le_bytes());
    for (i, size) in [1.0_f32, 2.0, 1.5, 3.0].iter().enumerate() {
        put(76 + 4 * i, &size.to_le_bytes());
    }
    put(108, &352.0_f32.to_le_bytes());
    put(112, &1.0_f32.to_le_bytes());
    put(123, &[2]);
    put(254, &1_i16.to_le_bytes());
    let rows = [
        [-2.0_f32, 0.0, 0.0, 8.0],
        [0.0, 1.5, 0.0, -3.0],
        [0.0, 0.0, 3.0, -5.0],
    ];
    for (i, value) in rows.iter().flatten().enumerate() {
        put(280 + 4 * i, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    for k in 0..6_i16 {
        for j in 0..5 {
            for i in 0..4 {
                bytes.extend((i + 10 * j + 100 * k).to_le_bytes());
            }
        }
    }
    bytes
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let answer = brainage(folder.path(), &[command, "--help"]).unwrap();
        assert_eq!(answer.code, Some(0), "{command}");
        assert!(
            answer.stdout.contains("Example"),
            "{command}:\n{}",
            answer.stdout
        );
        assert!(
            answer.stdout.contains(&format!("brainage {command}")),
            "{command}"
        );
    }
    let answer = brainage(folder.path(), &["--help"]).unwrap();
    assert!(
        COMMANDS
            .iter()
            .all(|command| answer.stdout.contains(command))
    );
    assert!(
        answer.stdout.contains("not a medical device"),
        "{}",
        answer.stdout
    );
}

#[test]
fn an_unknown_command_or_option_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["diagnose"][..],
        &["info", "--depth", "3"],
        &["evaluate"],
        &[],
    ] {
        let answer = brainage(folder.path(), arguments).unwrap();
        assert_eq!(answer.code, Some(2), "{arguments:?}: {}", answer.stderr);
    }
}

#[test]
fn a_missing_folder_is_named_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(folder.path(), &["preprocess", "no/such/scans"]).unwrap();
    check_refusal(
        &answer,
        2,
        &["no such file or folder: `no/such/scans`", "hint: "],
    );
}

#[test]
fn a_command_that_needs_a_project_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(folder.path(), &["index", "--project", "absent.toml"]).unwrap();
    check_refusal(&answer, 2, &["`absent.toml`"]);
    if !Path::new("/brainage.toml").exists() {
        let answer = brainage(Path::new("/"), &["index", "--check"]).unwrap();
        check_refusal(
            &answer,
            2,
            &["no `brainage.toml`", "hint: ", "brainage init"],
        );
    }
}

#[test]
fn an_unknown_key_in_the_project_file_is_refused_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\ncolour = \"red\"\n";
    fs_err::write(folder.path().join("brainage.toml"), text).unwrap();
    let answer = brainage(folder.path(), &["index", "--check"]).unwrap();
    check_refusal(&answer, 2, &["brainage.toml", "line 4", "`colour`"]);
}

#[test]
fn init_writes_a_project_file_that_works_and_never_replaces_one_unasked() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(brainage(folder.path(), &["init"]).unwrap().code, Some(0));
    let answer = brainage(folder.path(), &["index", "--check"]).unwrap();
    check_refusal(&answer, 2, &["no cohorts", "brainage.toml"]);
    let answer = brainage(folder.path(), &["init"]).unwrap();
    check_refusal(&answer, 1, &["already", "--force"]);
    assert_eq!(
        brainage(folder.path(), &["init", "--force"]).unwrap().code,
        Some(0)
    );
}

#[test]
fn a_cohort_whose_table_has_no_ages_is_refused_with_the_columns_that_were_found() {
    let folder = tempfile::tempdir().unwrap();
    let anat = folder.path().join("study/sub-01/anat");
    fs_err::create_dir_all(&anat).unwrap();
    fs_err::write(anat.join("sub-01_T1w.nii"), small_scan()).unwrap();
    let table = folder.path().join("study/participants.tsv");
    fs_err::write(table, "participant_id\tsex\nsub-01\tF\n").unwrap();
    let project = "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).unwrap();
    let answer = brainage(folder.path(), &["index", "--check", "-q"]).unwrap();
    check_refusal(
        &answer,
        1,
        &["no age column", "sex", "participants.tsv", "hint: "],
    );
}

#[test]
fn index_lists_a_cohort_and_counts_what_it_skipped() {
    let folder = tempfile::tempdir().unwrap();
    for participant in ["sub-01", "sub-02", "sub-03"] {
        let anat = folder.path().join("study").join(participant).join("anat");
        fs_err::create_dir_all(&anat).unwrap();
        fs_err::write(anat.join(format!("{participant}_T1w.nii")), small_scan()).unwrap();
    }
    let table = folder.path().join("study/participants.tsv");
    fs_err::write(
        table,
        "participant_id\tage\tsex\nsub-01\t33.5\tF\nsub-02\t61.25\tM\nsub-03\tn/a\tM\n",
    )
    .unwrap();
    let project = "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).unwrap();
    let answer = brainage(folder.path(), &["index", "--check", "--json"]).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let study = &json["cohorts"]["study"];
    assert_eq!(
        (&study["participants"], &study["scans"], &study["indexed"]),
        (&3.into(), &3.into(), &2.into())
    );
    let skipped: u64 = study["skipped"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(skipped, 1);
    assert!(!folder.path().join("index.csv").exists());

    let answer = brainage(folder.path(), &["index", "--out", "made/index.csv"]).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let index = fs_err::read_to_string(folder.path().join("made/index.csv")).unwrap();
    let columns = "cohort,participant_id,session_id,group_key,age_years,age_source,sex,site,scanner,diagnosis,scan,split,note";
    assert_eq!(index.lines().next(), Some(columns));
    assert_eq!(index.lines().count(), 3);
}

#[test]
fn a_scan_that_a_person_rejected_is_left_out_of_the_index_and_a_broken_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for participant in ["sub-01", "sub-02"] {
        let anat = folder.path().join("study").join(participant).join("anat");
        fs_err::create_dir_all(&anat).unwrap();
        fs_err::write(anat.join(format!("{participant}_T1w.nii")), small_scan()).unwrap();
    }
    let table = folder.path().join("study/participants.tsv");
    fs_err::write(table, "participant_id\tage\nsub-01\t33.5\nsub-02\t61.25\n").unwrap();
    let project = "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).unwrap();
    let review = folder.path().join("qc_review.csv");
    let scan = "study/sub-02/anat/sub-02_T1w.nii";
    let rows = format!("scan,name,verdict,comment\n{scan},sub-02,reject,moved\n");
    fs_err::write(&review, rows).unwrap();

    let answer = brainage(folder.path(), &["index"]).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    for said in [
        "1 skipped: rejected in review: moved",
        "1 scans of these cohorts left out, of 1 rejected in `",
        "1 scans: `index.csv`",
    ] {
        assert!(answer.stdout.contains(said), "{}", answer.stdout);
    }
    let index = fs_err::read_to_string(folder.path().join("index.csv")).unwrap();
    assert!(index.contains("sub-01_T1w.nii") && !index.contains("sub-02_T1w.nii"));
    let answer = brainage(folder.path(), &["index", "--check", "--json"]).unwrap();
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let skipped = &json["cohorts"]["study"]["skipped"];
    assert_eq!(skipped["rejected in review: moved"], 1);

    fs_err::write(&review, format!("scan,verdict\n{scan},maybe\n")).unwrap();
    let answer = brainage(folder.path(), &["index"]).unwrap();
    check_refusal(
        &answer,
        1,
        &["`maybe`", "(line 2)", "qc_review.csv`", "hint: "],
    );
    fs_err::remove_file(&review).unwrap();
    let answer = brainage(folder.path(), &["index", "--review", "no.csv"]).unwrap();
    check_refusal(&answer, 1, &["judgments cannot be read", "`no.csv`"]);
}

#[test]
fn info_tells_what_is_in_a_scan_on_ras_axes() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("scan.nii"), small_scan()).unwrap();
    let arguments = [
        "info", "scan.nii", "--json", "--at", "0,1,2", "--at", "3,4,5",
    ];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    for (key, expected) in [
        ("format", serde_json::json!("NIfTI-1")),
        ("datatype", serde_json::json!("int16")),
        ("shape", serde_json::json!([4, 5, 6])),
        ("voxel_size_mm", serde_json::json!([2.0, 1.5, 3.0])),
        ("orientation", serde_json::json!("LAS")),
        // Stored x runs to the left: RAS x = 0 is stored x = 3, at 8 − 3·2 mm.
        (
            "affine",
            serde_json::json!([
                [2.0, 0.0, 0.0, 2.0],
                [0.0, 1.5, 0.0, -3.0],
                [0.0, 0.0, 3.0, -5.0],
                [0.0, 0.0, 0.0, 1.0]
            ]),
        ),
        ("volumes", serde_json::json!(1)),
        ("min", serde_json::json!(0.0)),
        ("max", serde_json::json!(543.0)),
        ("mean", serde_json::json!(271.5)),
        ("values", serde_json::json!([213.0, 540.0])),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    assert!(json["warnings"].is_array());

    let answer = brainage(folder.path(), &["info", "scan.nii", "--at", "4,0,0"]).unwrap();
    check_refusal(&answer, 2, &["voxel 4,0,0", "4 × 5 × 6", "`scan.nii`"]);
}

#[test]
fn a_truncated_scan_is_named_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = small_scan();
    bytes.truncate(400);
    fs_err::write(folder.path().join("cut.nii"), bytes).unwrap();
    check_refusal(
        &brainage(folder.path(), &["info", "cut.nii"]).unwrap(),
        1,
        &["`cut.nii`", "hint: "],
    );
    check_refusal(
        &brainage(folder.path(), &["info", "absent.nii"]).unwrap(),
        1,
        &["`absent.nii`"],
    );
}

#[test]
fn a_refused_scan_is_listed_and_the_exit_code_tells() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = small_scan();
    bytes.truncate(400);
    fs_err::write(folder.path().join("cut.nii"), bytes).unwrap();
    let answer = brainage(folder.path(), &["preprocess", "cut.nii", "--json", "-q"]).unwrap();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(json["scans"][0]["status"], "refused");
    assert!(
        json["scans"][0]["error"]
            .as_str()
            .unwrap()
            .contains("cut.nii")
    );
    assert!(answer.stderr.contains("refused: "), "{}", answer.stderr);
}

#[test]
fn an_unknown_recipe_is_wrong_usage_and_the_known_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("scan.nii"), small_scan()).unwrap();
    let answer = brainage(
        folder.path(),
        &["preprocess", "scan.nii", "--recipe", "quick"],
    )
    .unwrap();
    check_refusal(&answer, 2, &["`quick`", "fast"]);
}

#[test]
fn a_recipe_that_is_shown_is_a_recipe_file_with_the_same_settings() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |recipe: &str| {
        let answer = brainage(
            folder.path(),
            &["preprocess", "--recipe", recipe, "--show-recipe"],
        );
        let answer = answer.unwrap();
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        answer.stdout
    };
    let standard = shown("standard");
    assert!(standard.contains("name = \"standard\""), "{standard}");
    fs_err::write(folder.path().join("mine.toml"), &standard).unwrap();
    assert_eq!(shown("mine.toml"), standard);
}

#[test]
fn evaluate_joins_predictions_with_a_table_of_ages() {
    let folder = tempfile::tempdir().unwrap();
    let header = "scan,participant_id,session_id,age_years,predicted_age,gap,corrected_gap,block_1,qc,qc_reasons,recipe,model,seconds,error";
    let rows = "a.nii,,,,33,,,33,pass,,fast,m,1,\nb.nii,,,,58,,,58,pass,,fast,m,1,\nc.nii,,,,,,,,,,fast,m,1,damaged\n";
    fs_err::write(folder.path().join("p.csv"), format!("{header}\n{rows}")).unwrap();
    fs_err::write(
        folder.path().join("ages.csv"),
        "scan,age_years,sex\na.nii,30,F\nb.nii,60,M\n",
    )
    .unwrap();
    let arguments = [
        "evaluate",
        "--predictions",
        "p.csv",
        "--ages",
        "ages.csv",
        "--json",
    ];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&json["n"], &json["mae"]), (&2.into(), &2.5.into()));
    assert_eq!(json["by_sex"]["F"]["mae"], 3.0);

    let answer = brainage(folder.path(), &["evaluate", "--predictions", "p.csv"]).unwrap();
    assert_eq!(answer.code, Some(1), "no ages anywhere");
    assert!(
        answer.stderr.contains("no prediction has an age"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_doctor_names_every_part() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(folder.path(), &["doctor", "--json"]).unwrap();
    assert_eq!(answer.code, Some(0), "{}\n{}", answer.stdout, answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let names: Vec<&str> = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "version", "template", "threads", "cuda", "memory", "project", "cache", "disk"
        ]
    );
    assert!(!folder.path().join("user-cache").exists(), "it only looks");
}

#[test]
fn a_report_is_refused_for_what_is_no_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(folder.path(), &["report", "no-run"]).unwrap();
    check_refusal(&answer, 1, &["not a run folder", "`no-run`"]);
    fs_err::create_dir_all(folder.path().join("run")).unwrap();
    fs_err::write(folder.path().join("run/config.toml"), "").unwrap();
    let answer = brainage(folder.path(), &["report", "run"]).unwrap();
    check_refusal(
        &answer,
        1,
        &["no model in this run yet", "hint: ", "--resume"],
    );
}

#[test]
fn a_demo_leaves_a_folder_alone_that_holds_something_else() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("mine.txt"), "mine").unwrap();
    let answer = brainage(folder.path(), &["demo", "--out", "."]).unwrap();
    check_refusal(&answer, 1, &["holds something else", "--out"]);
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(not(feature = "remote"))]
#[test]
fn a_worker_of_a_program_that_cannot_lend_says_so_and_makes_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["worker", "--listen=127.0.0.1:0", "--token-file=token"];
    let answer = brainage(folder.path(), &arguments).unwrap();
    check_refusal(
        &answer,
        1,
        &["without the feature `remote`", "--features remote"],
    );
    assert!(!folder.path().join("token").exists());
}
