//! One page over the outputs of many scans: the pictures with verdicts, reasons and measures, worst first.
//!
//! Made of the `STEM_qc.json` and `STEM_qc.png` files in a folder of [`crate::outputs`], whichever runs wrote them, and
//! of the scans that this run refused. The page is one HTML file without scripts; the pictures stay files beside it.
//! It judges nothing itself.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use rayon::prelude::*;
use serde::Deserialize;

use crate::atomic::write_atomically;
use crate::batch::{ScanOutcome, ScanReport};
use crate::error::{Error, shown};
use crate::outputs::{PICTURE_ENDING, QC_ENDING};
use crate::qc::QcVerdict;

/// Name of the page in the folder of outputs.
pub const PAGE_NAME: &str = "index.html";
/// What tells a page of ours, which may be replaced, from somebody else's.
const GENERATOR: &str = "brainage quality page";
/// The measures that are shown at once; all others unfold.
const KEY_MEASURES: [&str; 3] = ["template_correlation", "brain_inside", "brain_cm3"];

/// A scan without outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedScan {
    /// Its path.
    pub scan: PathBuf,
    /// Why it was refused.
    pub reason: String,
    /// What can be done about it, where there is something.
    pub hint: Option<String>,
}

impl RefusedScan {
    /// The refused ones of a run.
    pub fn of(reports: &[ScanReport]) -> Vec<Self> {
        let refused = |report: &ScanReport| match &report.outcome {
            ScanOutcome::Refused { reason } => Some(Self {
                scan: report.scan.clone(),
                reason: reason.clone(),
                hint: report.hint.map(str::to_owned),
            }),
            ScanOutcome::Done(_) | ScanOutcome::Cached(_) => None,
        };
        reports.iter().filter_map(refused).collect()
    }
}

/// The part of `STEM_qc.json` that is shown.
#[derive(Debug, Deserialize)]
struct QcFile {
    scan: String,
    recipe: String,
    verdict: QcVerdict,
    reasons: Vec<String>,
    metrics: BTreeMap<String, f64>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// A scan on the page.
struct Shown {
    stem: String,
    has_picture: bool,
    quality: Result<QcFile, String>,
}

/// Writes the page over all outputs in `folder`, and over the scans that were refused; returns its path.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed or the page not written, or if there is an `index.html` of other origin.
pub fn write_quality_page(folder: &Path, refused: &[RefusedScan]) -> Result<PathBuf, Error> {
    let path = folder.join(PAGE_NAME);
    check_origin(&path)?;
    let scans = scans_of(folder)?;
    let page = page(&scans, refused).into_string();
    write_atomically(&path, |file| file.write_all(page.as_bytes()))
        .map_err(Error::io("writing the quality page", &path))?;
    Ok(path)
}

fn check_origin(path: &Path) -> Result<(), Error> {
    match fs_err::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("reading the earlier quality page", path)(error)),
        Ok(there) if String::from_utf8_lossy(&there).contains(GENERATOR) => Ok(()),
        Ok(_) => {
            let problem = io::Error::new(
                io::ErrorKind::AlreadyExists,
                "another page is there that this program did not write",
            );
            Err(Error::io("writing the quality page", path)(problem))
        }
    }
}

/// The scans whose outputs are in the folder, worst first.
fn scans_of(folder: &Path) -> Result<Vec<Shown>, Error> {
    let names = fs_err::read_dir(folder)
        .and_then(|entries| {
            let name = |entry: fs_err::DirEntry| entry.file_name().to_string_lossy().into_owned();
            entries.map(|entry| entry.map(name)).collect()
        })
        .map_err(Error::io("listing the output folder", folder))?;
    let names: Vec<String> = names;
    let stems: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(QC_ENDING)?.strip_suffix('_'))
        .collect();
    let mut scans: Vec<Shown> = stems
        .par_iter()
        .map(|stem| Shown {
            stem: (*stem).to_owned(),
            has_picture: folder.join(format!("{stem}_{PICTURE_ENDING}")).is_file(),
            quality: read_qc(&folder.join(format!("{stem}_{QC_ENDING}"))),
        })
        .collect();
    scans.sort_by(|a, b| {
        let by_quality = rank(a).cmp(&rank(b));
        let by_fit = correlation(a).total_cmp(&correlation(b));
        let by_name = natord::compare(&a.stem, &b.stem);
        by_quality.then(by_fit).then(by_name)
    });
    Ok(scans)
}

fn read_qc(path: &Path) -> Result<QcFile, String> {
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// Smaller is worse: an unreadable verdict, then the verdict, then the number of reasons.
fn rank(scan: &Shown) -> (Option<Reverse<QcVerdict>>, Reverse<usize>) {
    match &scan.quality {
        Ok(qc) => (Some(Reverse(qc.verdict)), Reverse(qc.reasons.len())),
        Err(_) => (None, Reverse(0)),
    }
}

fn correlation(scan: &Shown) -> f64 {
    let metrics = scan.quality.as_ref().ok().map(|qc| &qc.metrics);
    let found = metrics.and_then(|metrics| metrics.get(KEY_MEASURES[0]));
    found.copied().unwrap_or(f64::NEG_INFINITY)
}

/// A verdict in the page's words: never by color alone.
struct Group {
    id: &'static str,
    sign: &'static str,
    title: &'static str,
    meaning: &'static str,
}

const REFUSED: Group = Group {
    id: "refused",
    sign: "–",
    title: "Refused",
    meaning: "not preprocessed in the last run",
};
const UNREADABLE: Group = Group {
    id: "unreadable",
    sign: "?",
    title: "Unreadable",
    meaning: "the quality file cannot be read; preprocess the scan again",
};

fn group_of(verdict: QcVerdict) -> Group {
    let (id, sign, title, meaning) = match verdict {
        QcVerdict::Fail => ("fail", "✕", "Fail", "left out of training"),
        QcVerdict::Warn => ("warn", "!", "Warn", "to be looked at"),
        QcVerdict::Pass => ("pass", "✓", "Pass", "nothing stands out"),
    };
    Group {
        id,
        sign,
        title,
        meaning,
    }
}

fn page(scans: &[Shown], refused: &[RefusedScan]) -> Markup {
    let of = |verdict| -> Vec<&Shown> {
        let has = |scan: &&Shown| scan.quality.as_ref().is_ok_and(|qc| qc.verdict == verdict);
        scans.iter().filter(has).collect()
    };
    let unreadable: Vec<&Shown> = scans.iter().filter(|scan| scan.quality.is_err()).collect();
    let mut groups = vec![
        (
            REFUSED,
            refused.len(),
            html! { @for scan in refused { (refused_card(scan)) } },
        ),
        (
            UNREADABLE,
            unreadable.len(),
            html! { @for scan in &unreadable { (card(scan)) } },
        ),
    ];
    for verdict in [QcVerdict::Fail, QcVerdict::Warn, QcVerdict::Pass] {
        let scans = of(verdict);
        let cards = html! { @for scan in &scans { (card(scan)) } };
        groups.push((group_of(verdict), scans.len(), cards));
    }
    groups.retain(|(_, n, _)| *n > 0);
    let n_scans = scans.len() + refused.len();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(GENERATOR);
                title { "Quality of " (n_scans) " scans" }
                style { (PreEscaped(include_str!("quality_page.css"))) }
            }
            body {
                a.skip href="#scans" { "To the scans" }
                header {
                    h1 { "Quality of preprocessing" }
                    p { (n_scans) @if n_scans == 1 { " scan" } @else { " scans" } ", worst first." }
                    nav aria-label="Verdicts" {
                        ul { @for (group, n, _) in &groups {
                            li { a href=(format!("#{}", group.id)) { (badge(group)) " " (n) } }
                        } }
                    }
                }
                main #scans {
                    @if groups.is_empty() { p { "There are no outputs in this folder." } }
                    @for (group, n, cards) in &groups {
                        section #(group.id) aria-labelledby=(format!("{}-title", group.id)) {
                            h2 id=(format!("{}-title", group.id)) {
                                (badge(group)) " " (n) " · " (group.meaning)
                            }
                            (cards)
                        }
                    }
                }
                footer.quiet {
                    p { "Rows of a picture: axial, coronal, sagittal; left is left. Outline: the template's brain mask." }
                    p { "Made by brainage " (env!("CARGO_PKG_VERSION")) ". It judges preprocessing, not health." }
                }
            }
        }
    }
}

fn badge(group: &Group) -> Markup {
    html! {
        span.badge.(group.id) { span aria-hidden="true" { (group.sign) " " } (group.title) }
    }
}

fn refused_card(scan: &RefusedScan) -> Markup {
    let name = scan.scan.file_name().unwrap_or(scan.scan.as_os_str());
    html! {
        article {
            h3 { (shown(Path::new(name))) }
            ul.reasons { li { (scan.reason) } }
            @if let Some(hint) = &scan.hint { p { "What to do: " (hint) } }
            p.quiet { (shown(&scan.scan)) }
        }
    }
}

fn card(scan: &Shown) -> Markup {
    let name = shown(Path::new(&scan.stem));
    html! {
        article {
            h3 { (name) }
            (picture(scan, &name))
            @match &scan.quality {
                Ok(qc) => (measured(qc)),
                Err(problem) => { ul.reasons { li { (problem) } } }
            }
        }
    }
}

fn picture(scan: &Shown, name: &str) -> Markup {
    if !scan.has_picture {
        return html! { p.quiet { "There is no picture." } };
    }
    let address = address_of(&format!("{}_{PICTURE_ENDING}", scan.stem));
    let words = match &scan.quality {
        Ok(qc) => group_of(qc.verdict).title,
        Err(_) => UNREADABLE.title,
    };
    html! {
        a href=(address) {
            img src=(address) loading="lazy" decoding="async"
                alt=(format!("Slices of {name} with the outline of the brain mask; verdict: {words}"));
        }
    }
}

fn measured(qc: &QcFile) -> Markup {
    let key = KEY_MEASURES
        .iter()
        .filter_map(|name| qc.metrics.get_key_value(*name));
    let is_other = |(name, _): &(&String, &f64)| !KEY_MEASURES.contains(&name.as_str());
    let others: Vec<_> = qc.metrics.iter().filter(is_other).collect();
    html! {
        @if !qc.reasons.is_empty() {
            ul.reasons { @for reason in &qc.reasons { li { (reason) } } }
        }
        dl { @for (name, value) in key { (measure(name, *value)) } }
        @if !others.is_empty() || !qc.warnings.is_empty() {
            details {
                summary { "More measures and remarks" }
                dl { @for (name, value) in others { (measure(name, *value)) } }
                @if !qc.warnings.is_empty() {
                    ul { @for warning in &qc.warnings { li { (warning) } } }
                }
            }
        }
        p.quiet { (shown(Path::new(&qc.scan))) " · recipe " (qc.recipe) }
    }
}

fn measure(name: &str, value: f64) -> Markup {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 3,
    };
    html! { div { dt { (name.replace('_', " ")) } dd { (format!("{value:.digits$}")) } } }
}

/// A file name as a relative address: everything but letters, digits and a few signs is written as its bytes.
fn address_of(name: &str) -> String {
    let mut address = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            address.push(char::from(byte));
        } else {
            let _infallible = write!(address, "%{byte:02X}");
        }
    }
    address
}

#[cfg(test)]
mod tests;
