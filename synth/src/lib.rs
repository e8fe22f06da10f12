//! Synthetic T1 heads that age, laid out as the cohorts ship.
//!
//! A participant's age, sex and seed become volumes of regions (`population`); the template's tissue maps (`atlas`,
//! `regions`) are deformed until they have those volumes (`gains`, `morph`), put in a scanner (`render`, `scanner`) and
//! written as a cohort would ship them ([`write_cohort`]) or as a flat folder ([`write_scan_folder`]). The same
//! parameters give the same files, bit for bit, on any number of threads.
//!
//! The heads serve demonstrations and tests. All have the template's skull and folds; ageing is that of healthy adults
//! of the mean; how much people differ can be asked for. A model trained on them may tell young from old, but its years mean nothing
//! in people. Every scan says "synthetic" in its header, every folder in a file.

mod cohort;
mod layouts;
mod params;
mod participant;

mod calibration;
mod population;

mod atlas;
mod gains;
mod morph;
mod regions;

mod render;
mod scanner;
mod spots;

mod error;
mod field;
mod noise;
mod poisson;
mod stream;
mod zip_archive;

pub use cohort::{SynthReport, write_cohort, write_scan_folder};
pub use error::Error;
pub use layouts::SynthLayout;
pub use params::{AGES_YEARS, SynthParams};
pub use participant::SynthParticipant;
pub use population::Sex;
