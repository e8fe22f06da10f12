//! What a training says while it runs. The loop emits, sinks show or keep.

use serde::{Deserialize, Serialize};

/// One thing that happened in a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A step of all blocks is done.
    Step {
        /// From 0.
        step: u64,
        /// From 0.
        epoch: u64,
        /// Learning rate.
        learning_rate: f64,
        /// Mean absolute error of each head on the batch, years; none where heads say classes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mae_years: Vec<f64>,
        /// Share of the batch that each head takes for another class, percent; none where heads say ages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        error_percent: Vec<f64>,
        /// Loss of each head with its block's penalty. Heads are in order; each block has one, but for deep supervision.
        loss: Vec<f64>,
    },
    /// An epoch of all blocks is done.
    Epoch {
        /// From 0.
        epoch: u64,
        /// Step of the run after it.
        step: u64,
        /// Mean over the epoch's samples of each head's absolute error, years; none where heads say classes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mae_years: Vec<f64>,
        /// Share of them that each head takes for another class, percent; none where heads say ages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        error_percent: Vec<f64>,
        /// Departure of bases from orthonormality, of each block the layers; above 0.1 a basis is none any more.
        orthogonality_error: Vec<Vec<f64>>,
        /// Share of the time, 0 to 1, that the loop waited for training batches. This and what follows is not the same
        /// in every run, see [`Event::reproducible`].
        data_wait_share: f64,
        /// Share of the time, 0 to 1, that the device of each head's block worked; since the last epoch's event.
        #[serde(default)]
        busy_share: Vec<f64>,
        /// Share, 0 to 1, of the queue before the device of each head's block that was full when the device took a message, on
        /// average; 0 where there is no queue.
        #[serde(default)]
        queue_fill: Vec<f64>,
        /// Mean time from one step to the next in the epoch; none for epochs of a single step.
        #[serde(default)]
        seconds_per_step: Option<f64>,
        /// Processor time of this process, all its threads, from one step to the next, seconds; a mean over the epoch, none
        /// for epochs of a single step or where the system does not tell.
        #[serde(default)]
        cpu_seconds_per_step: Option<f64>,
        /// Most resident memory of this process since the training began or went on, bytes; none where the system does not
        /// tell.
        #[serde(default)]
        peak_memory_bytes: Option<u64>,
    },
    /// The validation set was estimated.
    Validation {
        /// Epoch that came before.
        epoch: u64,
        /// Step of the run.
        step: u64,
        /// Samples.
        n: usize,
        /// Mean absolute error of each head, years; none where heads say classes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mae_years: Vec<f64>,
        /// Share that each head takes for another class, percent; none where heads say ages.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        error_percent: Vec<f64>,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps that it holds.
        step: u64,
    },
}

impl Event {
    /// The event without the figures that depend on how fast machine and disk were: what is the same in every run of one
    /// config, however often it was stopped, and from every executor.
    pub fn reproducible(mut self) -> Self {
        if let Self::Epoch {
            data_wait_share,
            busy_share,
            queue_fill,
            seconds_per_step,
            cpu_seconds_per_step,
            peak_memory_bytes,
            ..
        } = &mut self
        {
            *data_wait_share = 0.0;
            busy_share.clear();
            queue_fill.clear();
            *seconds_per_step = None;
            *cpu_seconds_per_step = None;
            *peak_memory_bytes = None;
        }
        self
    }
}

/// Takes events.
pub trait EventSink {
    /// Shows or keeps an event.
    ///
    /// # Errors
    /// What the file system answered, for sinks that write.
    fn emit(&mut self, event: &Event) -> std::io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch as logs had it before they told of processor time and memory.
    const EARLIER: &str = r#"{"event":"epoch","epoch":0,"step":5,"error_percent":[50.0],"orthogonality_error":[[]],
        "data_wait_share":0.25,"busy_share":[0.5],"queue_fill":[0.0],"seconds_per_step":2.0}"#;

    #[test]
    fn what_depends_on_the_machine_is_no_part_of_what_every_run_has_alike() {
        let earlier: Event = serde_json::from_str(EARLIER).unwrap();
        let mut later = earlier.clone();
        let Event::Epoch {
            cpu_seconds_per_step,
            peak_memory_bytes,
            ..
        } = &mut later
        else {
            panic!("an epoch");
        };
        assert_eq!((*cpu_seconds_per_step, *peak_memory_bytes), (None, None));
        (*cpu_seconds_per_step, *peak_memory_bytes) = (Some(3.5), Some(1 << 30));
        let text = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), later);
        assert_ne!(later, earlier);
        assert_eq!(later.reproducible(), earlier.reproducible());
    }
}
