//! From scans to ages: the predictor, the stream that feeds it, and the table it fills.

pub mod predictor;
pub mod row;
pub mod saliency;
pub mod stream;
pub mod table;

mod moved;
mod participants;
mod view;

pub use view::{prediction_of, view_predictor};
