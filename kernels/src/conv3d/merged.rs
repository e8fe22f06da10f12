//! Short runs of positions joined to a long one, for weight gradients of small pictures: a dot product over a few vectors
//! would spend its time beginning and ending.

use super::dots::DotSegment;
use super::packing::{Offsets, Segment};

/// Runs shorter than this are joined.
pub(crate) const SHORT: usize = 96;

/// Scratch of one task.
#[derive(Default)]
pub(crate) struct Merged {
    /// `[tap][position]`
    inputs: Vec<f32>,
    /// `[output channel][position]`
    gradients: Vec<f32>,
    offsets: Offsets,
    n_positions: usize,
}

impl Merged {
    /// Joins the segments, if they are short and several.
    pub(crate) fn join(
        &mut self,
        inputs: &[f32],
        segments: &[DotSegment<'_>],
        n_taps: usize,
    ) -> bool {
        let [first, _, ..] = segments else {
            return false;
        };
        if first.segment.len >= SHORT {
            return false;
        }
        let n_channels = first.gradients.len();
        let n_positions = segments.iter().map(|run| run.segment.len).sum();
        self.inputs.resize(n_taps * n_positions, 0.0);
        self.gradients.resize(n_channels * n_positions, 0.0);
        if n_positions != self.n_positions {
            self.offsets = Offsets::new((0..n_taps).map(|tap| tap * n_positions).collect());
            self.n_positions = n_positions;
        }
        for (tap, row) in self.inputs.chunks_mut(n_positions).enumerate() {
            let mut row = row;
            for run in segments {
                let from = run.inputs_from + run.segment.offsets.first(n_taps).0[tap];
                let (to, rest) = row.split_at_mut(run.segment.len);
                to.copy_from_slice(&inputs[from..from + run.segment.len]);
                row = rest;
            }
        }
        for (channel, row) in self.gradients.chunks_mut(n_positions).enumerate() {
            let mut row = row;
            for run in segments {
                let (to, rest) = row.split_at_mut(run.segment.len);
                to.copy_from_slice(run.gradients[channel]);
                row = rest;
            }
        }
        true
    }

    /// The inputs and the run that the last [`Merged::join`] made.
    pub(crate) fn parts(&self) -> (&[f32], DotSegment<'_>) {
        let run = DotSegment {
            segment: Segment {
                offsets: &self.offsets,
                position: 0,
                len: self.n_positions,
            },
            inputs_from: 0,
            gradients: self.gradients.chunks(self.n_positions.max(1)).collect(),
        };
        (&self.inputs, run)
    }
}
