//! How the heads of a run got better, epoch by epoch, as its log of events has it.

use crate::Error;
use crate::engine::event::Event;

/// One head after one epoch.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CurvePoint {
    /// Run that it is of.
    pub run: String,
    /// From 1.
    pub epoch: u64,
    /// From 1.
    pub head: usize,
    /// Mean over the epoch's steps, with the penalty of the head's block.
    pub loss: f64,
    /// Share of training images that it took for another class, percent, each as it was when it was learned from.
    pub training_error_percent: f64,
    /// The same of images that only watch, after the epoch.
    pub validation_error_percent: Option<f64>,
    /// The largest departure from orthonormality in the head's block, see [`crate::nn::weight::Weight::orthogonality_error`].
    pub orthogonality_error: Option<f64>,
}

/// The points of a run, epoch after epoch; an epoch that is not done has none.
pub fn curve_points(run: &str, events: &[Event]) -> Vec<CurvePoint> {
    let mut points: Vec<CurvePoint> = Vec::new();
    let (mut sums, mut n_steps): (Vec<f64>, u32) = (Vec::new(), 0);
    for event in events {
        match event {
            Event::Step { loss, .. } => {
                sums.resize(loss.len(), 0.0);
                for (sum, loss) in sums.iter_mut().zip(loss) {
                    *sum += loss;
                }
                n_steps += 1;
            }
            Event::Epoch {
                epoch,
                error_percent,
                orthogonality_error,
                ..
            } => {
                let n = f64::from(n_steps.max(1));
                let heads = sums.drain(..).zip(error_percent).enumerate();
                points.extend(heads.map(|(head, (sum, error))| CurvePoint {
                    run: run.to_owned(),
                    epoch: epoch + 1,
                    head: head + 1,
                    loss: sum / n,
                    training_error_percent: *error,
                    validation_error_percent: None,
                    orthogonality_error: largest(orthogonality_error, head),
                }));
                n_steps = 0;
            }
            Event::Validation {
                epoch,
                error_percent,
                ..
            } => {
                let of_epoch = points.iter_mut().filter(|point| point.epoch == epoch + 1);
                for (point, error) in of_epoch.zip(error_percent) {
                    point.validation_error_percent = Some(*error);
                }
            }
            Event::Checkpoint { .. } => {}
        }
    }
    points
}

/// Of the block of a head: its own, or the only one there is.
fn largest(by_block: &[Vec<f64>], head: usize) -> Option<f64> {
    let of_block = by_block.get(head).or(by_block.first())?;
    of_block.iter().copied().reduce(f64::max)
}

/// Points as comma-separated values with a heading.
///
/// # Errors
/// [`Error::Data`] where a line cannot be made.
pub fn to_csv(points: &[CurvePoint]) -> Result<String, Error> {
    let failed = |error: csv::Error| Error::Data(error.to_string());
    let mut out = csv::Writer::from_writer(Vec::new());
    for point in points {
        out.serialize(point).map_err(failed)?;
    }
    let bytes = out
        .into_inner()
        .map_err(|error| Error::Data(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Data(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, epoch: u64, loss: [f64; 2]) -> Event {
        Event::Step {
            step,
            epoch,
            learning_rate: 0.1,
            mae_years: Vec::new(),
            error_percent: vec![50.0, 40.0],
            loss: loss.into(),
        }
    }

    fn epoch(epoch: u64, orthogonality_error: Vec<Vec<f64>>) -> Event {
        Event::Epoch {
            epoch,
            step: 2 * (epoch + 1),
            mae_years: Vec::new(),
            error_percent: vec![45.0, 35.0],
            orthogonality_error,
            data_wait_share: 0.0,
            busy_share: Vec::new(),
            queue_fill: Vec::new(),
            seconds_per_step: None,
            cpu_seconds_per_step: None,
            peak_memory_bytes: None,
        }
    }

    #[test]
    fn a_point_is_the_mean_loss_of_the_epoch_with_its_errors() {
        let events = [
            step(0, 0, [2.0, 1.0]),
            step(1, 0, [1.0, 0.5]),
            epoch(0, vec![vec![0.01, 0.03], vec![0.02]]),
            Event::Validation {
                epoch: 0,
                step: 2,
                n: 9,
                mae_years: Vec::new(),
                error_percent: vec![55.0, 44.0],
            },
            step(2, 1, [0.5, 0.25]),
            epoch(1, vec![Vec::new(), Vec::new()]),
            step(3, 2, [9.0, 9.0]),
        ];
        let points = curve_points("one", &events);
        assert_eq!(points.len(), 4);
        let second_head = &points[1];
        assert_eq!(
            (second_head.epoch, second_head.head, second_head.loss),
            (1, 2, 0.75)
        );
        assert_eq!(second_head.validation_error_percent, Some(44.0));
        assert_eq!(points[0].orthogonality_error, Some(0.03));
        assert_eq!((points[2].loss, points[2].orthogonality_error), (0.5, None));
        let csv = to_csv(&points).unwrap();
        assert!(
            csv.starts_with("run,epoch,head,loss,training_error_percent,"),
            "{csv}"
        );
        assert_eq!(csv.lines().count(), 5);
    }

    #[test]
    fn heads_of_one_block_share_its_departure_from_orthonormality() {
        let events = [step(0, 0, [2.0, 1.0]), epoch(0, vec![vec![0.2, 0.1]])];
        let points = curve_points("deep", &events);
        assert!(
            points
                .iter()
                .all(|point| point.orthogonality_error == Some(0.2))
        );
    }
}
