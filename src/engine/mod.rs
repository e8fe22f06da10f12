//! The block-local training engine.
//!
//! A batch flows through the workers, one for each device; each worker trains its blocks on the answers of their own
//! heads and hands on what they computed *before* the update, without a graph. So the order in time does not matter:
//! sequential and pipelined execution give the same bits. Batches come from [`crate::data`]; events go to sinks, states
//! to checkpoints. The engine knows nothing of cohorts, scans or reports.

mod age_bins;
pub mod average;
pub mod calibration;
pub mod checkpoint;
pub mod classes;
pub mod device;
pub mod event;
pub mod executor;
mod feedback;
mod forward_forward;
pub mod gradients;
mod ledger;
mod lesson;
pub mod meter;
mod no_prop;
pub mod objective;
pub mod optimizer;
pub mod placement;
pub mod remote;
mod replay;
pub mod replica;
pub mod schedule;
pub mod seed;
pub mod target;
pub mod trainer;
pub mod worker;
