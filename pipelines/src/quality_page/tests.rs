use super::*;

struct Outputs(tempfile::TempDir);

impl Outputs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The two files of a scan from which the page is made.
    fn add(&self, stem: &str, verdict: &str, reasons: &[&str], correlation: f64) {
        let qc = serde_json::json!({
            "scan": format!("/data/{stem}.nii.gz"),
            "file_hash": "00",
            "recipe": "fast",
            "verdict": verdict,
            "reasons": reasons,
            "metrics": {"template_correlation": correlation, "brain_cm3": 1512.4, "edge_sharpness": 0.25},
            "warnings": ["low resolution"],
        });
        let path = |ending: &str| self.0.path().join(format!("{stem}_{ending}"));
        fs_err::write(path(QC_ENDING), qc.to_string()).unwrap();
        fs_err::write(path(PICTURE_ENDING), b"\x89PNG").unwrap();
    }

    fn page(&self, refused: &[RefusedScan]) -> String {
        let path = write_quality_page(self.0.path(), refused).unwrap();
        assert_eq!(path, self.0.path().join("index.html"));
        fs_err::read_to_string(path).unwrap()
    }
}

fn refused(scan: &str, reason: &str) -> RefusedScan {
    RefusedScan {
        scan: scan.into(),
        reason: reason.into(),
        hint: Some("copy it again".into()),
    }
}

/// These texts are on the page, in this order.
fn check_order(page: &str, texts: &[&str]) {
    let mut from = 0;
    for text in texts {
        let found = page.get(from..).unwrap().find(text);
        from += found.unwrap_or_else(|| panic!("{text} is not after the others"));
    }
}

#[test]
fn the_worst_scan_comes_first() {
    let outputs = Outputs::new();
    outputs.add("good-10", "pass", &[], 0.9);
    outputs.add("good-2", "pass", &[], 0.9);
    outputs.add("fits-less", "pass", &[], 0.8);
    outputs.add("odd", "warn", &["a"], 0.7);
    outputs.add("odder", "warn", &["a", "b"], 0.9);
    outputs.add("bad", "fail", &["a"], 0.4);
    fs_err::write(outputs.0.path().join("cut_qc.json"), b"{").unwrap();
    let page = outputs.page(&[refused("x/none.nii", "file is empty")]);
    let order = [
        "none.nii",
        "cut",
        "bad",
        "odder",
        "odd",
        "fits-less",
        "good-2",
        "good-10",
    ];
    let headings: Vec<String> = order
        .iter()
        .map(|name| format!("<h3>{name}</h3>"))
        .collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    check_order(&page, &headings);
    assert_eq!(page.matches("<article>").count(), 8);
    assert!(page.contains("8 scans, worst first"));
}

#[test]
fn reasons_measures_and_hints_stand_in_words() {
    let outputs = Outputs::new();
    outputs.add("sub-01", "warn", &["the skull seems to be gone"], 0.876_54);
    let page = outputs.page(&[refused("x/sub-02.nii", "empty file: `x/sub-02.nii`")]);
    for text in [
        "<li>the skull seems to be gone</li>",
        "<dt>template correlation</dt><dd>0.877</dd>",
        "<dt>brain cm3</dt><dd>1512</dd>",
        "<dt>edge sharpness</dt><dd>0.250</dd>",
        "<li>low resolution</li>",
        "empty file: `x/sub-02.nii`",
        "What to do: copy it again",
        "/data/sub-01.nii.gz",
        "recipe fast",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let details = page.find("<details>").unwrap();
    assert!(page.find("edge sharpness").unwrap() > details);
    assert!(page.find("brain cm3").unwrap() < details);
}

#[test]
fn whatever_names_and_files_say_is_text() {
    let outputs = Outputs::new();
    let evil = "a<script>alert(1)<&\"'>";
    outputs.add(
        &evil.replace('/', ""),
        "fail",
        &["<img src=x onerror=y>"],
        0.5,
    );
    let page = outputs.page(&[refused("<b>\n.nii", "<i>\"quoted\"</i>")]);
    for raw in ["<script", "<img src=x", "<b>", "<i>"] {
        assert!(!page.contains(raw), "{raw}");
    }
    assert!(page.contains("&lt;img src=x onerror=y&gt;"));
    // A name never gets out of the attribute it stands in.
    assert!(page.contains("src=\"a%3Cscript%3Ealert%281%29%3C%26%22%27%3E_qc.png\""));
}

#[test]
fn addresses_are_relative_to_the_folder_whatever_the_name() {
    assert_eq!(address_of("sub-01_T1w.x_qc.png"), "sub-01_T1w.x_qc.png");
    assert_eq!(address_of("a b#c?d%e:f"), "a%20b%23c%3Fd%25e%3Af");
    assert_eq!(address_of("é"), "%C3%A9");
}

#[test]
fn verdicts_are_told_by_words_and_signs_pictures_by_their_text_and_all_is_reached_by_links() {
    let outputs = Outputs::new();
    outputs.add("a", "pass", &[], 0.9);
    outputs.add("b", "fail", &["c"], 0.4);
    let page = outputs.page(&[]);
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
    for (id, sign, title) in [("pass", "✓", "Pass"), ("fail", "✕", "Fail")] {
        assert!(page.contains(&format!("<a href=\"#{id}\">")));
        assert!(page.contains(&format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\">"
        )));
        assert!(page.contains(&format!("<span aria-hidden=\"true\">{sign} </span>{title}")));
    }
    assert!(page.contains("alt=\"Slices of b with the outline of the brain mask; verdict: Fail\""));
    assert!(page.contains("<a class=\"skip\" href=\"#scans\">"));
    assert!(page.contains("@media print") && page.contains(":focus-visible"));
    for outside in ["http:", "https:", "<script", "//cdn"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_page_of_other_origin_stays_and_our_own_is_replaced() {
    let outputs = Outputs::new();
    assert!(outputs.page(&[]).contains("no outputs in this folder"));
    outputs.add("a", "pass", &[], 0.9);
    assert!(outputs.page(&[]).contains("<h3>a</h3>"));
    let path = outputs.0.path().join("index.html");
    fs_err::write(&path, "<h1>My project</h1>").unwrap();
    let error = write_quality_page(outputs.0.path(), &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("did not write"), "{error}");
    assert_eq!(
        fs_err::read_to_string(&path).unwrap(),
        "<h1>My project</h1>"
    );
}

#[test]
fn a_missing_picture_or_measure_leaves_a_gap_and_no_broken_link() {
    let outputs = Outputs::new();
    outputs.add("a", "pass", &[], 0.9);
    fs_err::remove_file(outputs.0.path().join("a_qc.png")).unwrap();
    let page = outputs.page(&[]);
    assert!(page.contains("There is no picture") && !page.contains("<img"));
}
