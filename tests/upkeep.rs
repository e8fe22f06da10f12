//! Looking after the cache, as the program's user does.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod program;

use std::path::Path;

use program::{Answer, brainage, check_refusal};
use serde_json::Value;

fn at(folder: &Path, words: &str) -> Answer {
    let words: Vec<&str> = words.split(' ').collect();
    let answer = brainage(folder, &words).expect("the program runs");
    assert_eq!(answer.code, Some(0), "{words:?}: {}", answer.stderr);
    answer
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).expect("JSON")
}

/// A project with one cohort of three synthetic heads, all of them in the cache.
fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let project =
        "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n\n[cache]\ndir = \"cache\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).expect("written");
    at(
        folder.path(),
        "synth --layout bids --subjects 3 --voxel-size 4 --out study",
    );
    at(
        folder.path(),
        "preprocess --cohorts study --recipe coarse --out files",
    );
    folder
}

fn n_entries(folder: &Path) -> u64 {
    let verified = json(&at(folder, "preprocess --verify --json"));
    assert_eq!(verified["damaged"], Value::Array(Vec::new()));
    verified["whole"]["n"].as_u64().expect("a number")
}

#[test]
fn what_the_cache_holds_of_a_withdrawn_participant_goes_with_the_next_command() {
    let study = study();
    assert_eq!(n_entries(study.path()), 3);
    at(study.path(), "index");
    let index = fs_err::read_to_string(study.path().join("index.csv")).unwrap();
    let row = index.lines().nth(1).unwrap();
    let participant = row.split(',').nth(1).unwrap().to_owned();
    let list = format!("participant_id\n{participant}\n");
    fs_err::write(study.path().join("study/withdrawn.csv"), list).unwrap();
    let answer = at(study.path(), "index");
    let said = "1 volumes of withdrawn participants removed from the cache";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    assert!(!answer.stderr.contains(&participant), "{}", answer.stderr);
    assert_eq!(n_entries(study.path()), 2);
    let index = fs_err::read_to_string(study.path().join("index.csv")).unwrap();
    assert!(!index.contains(&participant), "{index}");
}

#[test]
fn a_purge_keeps_what_the_cohorts_need_and_spares_what_is_young() {
    let study = study();
    let answer = json(&at(study.path(), "preprocess --gc --dry-run --json"));
    assert_eq!(
        (&answer["kept"]["n"], &answer["spared"]["n"]),
        (&3.into(), &0.into())
    );
    let project = study.path().join("brainage.toml");
    let text = fs_err::read_to_string(&project).unwrap();
    let fewer = text.replace(
        "[cache]",
        "[cohorts.study.include]\nage = [0, 1]\n\n[cache]",
    );
    fs_err::write(&project, fewer).unwrap();
    let refused = brainage(study.path(), &["preprocess", "--gc"]).unwrap();
    check_refusal(&refused, 1, &["nothing would stay", "delete its folder"]);
    assert_eq!(n_entries(study.path()), 3);
}

#[test]
fn a_damaged_entry_is_named() {
    let study = study();
    let mut entries = Vec::new();
    for folder in fs_err::read_dir(study.path().join("cache")).unwrap() {
        let files = fs_err::read_dir(folder.unwrap().path()).unwrap();
        entries.extend(files.map(|file| file.unwrap().path()));
    }
    let mut bytes = fs_err::read(&entries[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&entries[0], bytes).unwrap();
    let answer = brainage(study.path(), &["preprocess", "--verify"]).unwrap();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert!(answer.stderr.contains("damaged: "), "{}", answer.stderr);
    assert!(
        answer.stdout.contains("2 entries are whole"),
        "{}",
        answer.stdout
    );
}

#[test]
fn files_for_other_programs_come_with_a_page_that_shows_all_scans() {
    let study = study();
    let page = fs_err::read_to_string(study.path().join("files/index.html")).unwrap();
    let files = fs_err::read_dir(study.path().join("files")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let pictures: Vec<String> = names.filter(|name| name.ends_with("_qc.png")).collect();
    assert_eq!(pictures.len(), 3);
    for picture in pictures {
        assert!(page.contains(&picture), "no {picture}");
    }
}
