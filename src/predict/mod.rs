//! From scans to ages: the predictor, and the table it fills.

pub mod predictor;
pub mod table;

mod view;

pub use view::{prediction_of, view_predictor};
