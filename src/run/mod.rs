//! What a training leaves behind: its folder and the log of its metrics.

pub mod dir;
pub mod metrics_log;
