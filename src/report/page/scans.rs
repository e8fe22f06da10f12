//! What the page says of single scans.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use brainage_pipelines::qc::QcVerdict;
use maud::{Markup, html};

use super::{number, signed, verdict};
use crate::eval::Case;
use crate::report::{LeftOut, Report, ScanQuality, largest_gaps};

/// Refused or failed scans that are named.
const MAX_NAMED: usize = 200;

/// How many scans passed, and which did not.
pub(super) fn quality(scans: &[ScanQuality]) -> Markup {
    let refused: Vec<&ScanQuality> = scans.iter().filter(|scan| scan.error.is_some()).collect();
    let of = |verdict| {
        scans
            .iter()
            .filter(move |scan| scan.error.is_none() && scan.qc == Some(verdict))
    };
    let noticed: Vec<&ScanQuality> = of(QcVerdict::Fail).chain(of(QcVerdict::Warn)).collect();
    let rejected: Vec<&ScanQuality> = scans
        .iter()
        .filter(|scan| scan.rejected.is_some())
        .collect();
    let held = if rejected.len() == 1 { "it" } else { "them" };
    let unknown = scans
        .iter()
        .filter(|scan| scan.error.is_none() && scan.qc.is_none())
        .count();
    html! {
        section {
            h2 { "Quality of the scans" }
            @if scans.is_empty() { p { "Not recorded." } } @else {
                p {
                    (scans.len()) " scans: " (of(QcVerdict::Pass).count()) " passed, "
                    (of(QcVerdict::Warn).count()) " with warnings, "
                    (of(QcVerdict::Fail).count()) " failed, " (refused.len()) " refused"
                    @if unknown > 0 { ", " (unknown) " not checked" } "."
                    @if !rejected.is_empty() {
                        " " (rejected.len()) " of them a person has rejected since; the figures hold " (held) " all the same."
                    }
                }
            }
            (named_scans("Rejected in review", &rejected, |scan| scan.rejected.clone().unwrap_or_default()))
            (named_scans("Refused", &refused, |scan| scan.error.clone().unwrap_or_default()))
            (named_scans("Failed or with warnings", &noticed, |scan| {
                let verdict = verdict(scan.qc);
                match scan.reasons.as_slice() {
                    [] => verdict.to_owned(),
                    reasons => format!("{verdict}: {}", reasons.join("; ")),
                }
            }))
        }
    }
}

/// Scans of the cohorts that did not get into the index, and why.
pub(super) fn left_out(left_out: &[LeftOut]) -> Markup {
    let n: usize = left_out.iter().map(|row| row.n).sum();
    html! {
        @if n > 0 {
            section {
                h2 { "Left out of the index" }
                p { (n) " scans or visits of the cohorts were not used:" }
                div.scroll { table {
                    thead { tr { th.text { "Cohort" } th { "n" } th.text { "Reason" } } }
                    tbody {
                        @for row in left_out {
                            tr { td.text { (row.cohort) } td { (row.n) } td.text { (row.reason) } }
                        }
                    }
                } }
            }
        }
    }
}

fn named_scans(
    title: &str,
    scans: &[&ScanQuality],
    reason: impl Fn(&ScanQuality) -> String,
) -> Markup {
    html! {
        @if !scans.is_empty() {
            div.scroll { table {
                thead { tr { th.text { (title) } th.text { "Reason" } } }
                tbody {
                    @for scan in scans.iter().take(MAX_NAMED) {
                        tr { td.text { (scan.scan) } td.text { (reason(scan)) } }
                    }
                }
            } }
            @if scans.len() > MAX_NAMED { p.quiet { "and " (scans.len() - MAX_NAMED) " more" } }
        }
    }
}

/// The scans with the largest gaps, with slices where there are some.
pub(super) fn worst_cases(report: &Report) -> Markup {
    let worst = largest_gaps(&report.cases);
    let quality: BTreeMap<&str, Option<QcVerdict>> = report
        .scans
        .iter()
        .map(|scan| (scan.scan.as_str(), scan.qc))
        .collect();
    html! {
        @if !worst.is_empty() {
            section {
                h2 { "Largest gaps" }
                p { "Look at these first: a large gap is more often a bad scan or a wrong age than an unusual brain." }
                div.scroll { table {
                    thead { tr {
                        th.text { "Scan" } th.text { "Participant" } th.text { "Cohort" }
                        th { "age" } th { "predicted" } th { "gap" } th { "QC" }
                        @if !report.pictures.is_empty() { th.text { "Slices, left is left" } }
                    } }
                    tbody {
                        @for case in worst {
                            tr {
                                td.text { (case.scan) }
                                td.text { (case.participant_id) }
                                td.text { (case.cohort) }
                                td { (number(Some(case.age_years))) }
                                td { (number(Some(case.predicted_age_years))) }
                                td { (signed(Some(case.gap_years()))) }
                                td { (verdict(quality.get(case.scan.as_str()).copied().flatten())) }
                                @if !report.pictures.is_empty() { td.text { (picture(report, case)) } }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// Slices through the middle of a case's volume.
fn picture(report: &Report, case: &Case) -> Markup {
    html! {
        @if let Some(png) = report.pictures.get(&case.scan) {
            img alt={ "axial, coronal and sagittal slice of " (case.scan) }
                src={ "data:image/png;base64," (STANDARD.encode(png)) };
        }
    }
}
