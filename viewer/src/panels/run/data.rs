//! Learning curves from `metrics.jsonl`, read while it grows.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use eframe::egui;
use serde::Deserialize;

/// Name of the log in a run folder.
pub(crate) const LOG: &str = "metrics.jsonl";
/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes read at once.
const CHUNK: u64 = 1 << 20;
/// Points of a curve; beyond, every other one goes.
const MOST_POINTS: usize = 2000;
/// Weight of a step in the smoothed error.
const NEWEST: f64 = 0.1;

/// A line of the log, as far as the curves need it; other events are passed over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Step {
        step: u64,
        mae_years: Vec<f64>,
    },
    Epoch {
        epoch: u64,
        step: u64,
        mae_years: Vec<f64>,
    },
    Validation {
        step: u64,
        mae_years: Vec<f64>,
    },
    #[serde(other)]
    Other,
}

/// Curves of one block: step and mean absolute error in years.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BlockCurves {
    /// On training batches, smoothed.
    pub(crate) steps: Vec<[f64; 2]>,
    /// On the training samples of each epoch.
    pub(crate) epochs: Vec<[f64; 2]>,
    /// On the validation set.
    pub(crate) validation: Vec<[f64; 2]>,
    smoothed: Option<f64>,
}

/// What is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curves {
    /// First block first.
    pub(crate) blocks: Vec<BlockCurves>,
    /// Steps that were taken.
    pub(crate) n_steps: u64,
    /// Epochs that are done.
    pub(crate) n_epochs: u64,
    /// Every so many steps have a point.
    stride: u64,
}

impl Curves {
    fn take(&mut self, event: Event) {
        match event {
            Event::Step { step, mae_years } => {
                self.n_steps = step + 1;
                self.stride = self.stride.max(1);
                let stride = self.stride;
                for (block, mae) in self.with(mae_years) {
                    let smoothed = block.smoothed.map_or(mae, |old| old + NEWEST * (mae - old));
                    block.smoothed = Some(smoothed);
                    if step % stride == 0 {
                        block.steps.push([step as f64, smoothed]);
                    }
                }
                self.thin_out();
            }
            Event::Epoch {
                epoch,
                step,
                mae_years,
            } => {
                self.n_epochs = epoch + 1;
                self.n_steps = self.n_steps.max(step);
                for (block, mae) in self.with(mae_years) {
                    block.epochs.push([step as f64, mae]);
                }
            }
            Event::Validation { step, mae_years } => {
                for (block, mae) in self.with(mae_years) {
                    block.validation.push([step as f64, mae]);
                }
            }
            Event::Other => (),
        }
    }

    fn with(&mut self, values: Vec<f64>) -> impl Iterator<Item = (&mut BlockCurves, f64)> {
        if self.blocks.len() < values.len() {
            self.blocks.resize_with(values.len(), BlockCurves::default);
        }
        self.blocks.iter_mut().zip(values)
    }

    fn thin_out(&mut self) {
        if self
            .blocks
            .iter()
            .any(|block| block.steps.len() > MOST_POINTS)
        {
            self.stride *= 2;
            for block in &mut self.blocks {
                let stride = self.stride as f64;
                block.steps.retain(|[step, _]| step % stride == 0.0);
            }
        }
    }

    /// One line: how far it is and the last errors.
    pub(crate) fn summary(&self) -> String {
        let last: Vec<String> = self
            .blocks
            .iter()
            .filter_map(|block| block.validation.last().or(block.epochs.last()))
            .map(|[_, mae]| format!("{mae:.1}"))
            .collect();
        let mut line = format!("{} steps, {} epochs", self.n_steps, self.n_epochs);
        if !last.is_empty() {
            let of = if self.blocks.iter().any(|block| !block.validation.is_empty()) {
                "validation"
            } else {
                "training"
            };
            line += &format!("; last {of} MAE by block {} years", last.join(", "));
        }
        line
    }
}

/// Follows the log of a run on a thread of its own.
pub(crate) struct RunLog {
    /// The run folder.
    pub(crate) folder: PathBuf,
    /// What has been read; or why nothing can be.
    pub(crate) curves: Result<Curves, String>,
    updates: mpsc::Receiver<Result<Curves, String>>,
    was_read: bool,
    stop: Arc<AtomicBool>,
}

impl RunLog {
    /// Begins to follow; wakes `ctx` whenever the log has grown.
    ///
    /// # Errors
    /// What the system answered where no thread can be had.
    pub(crate) fn follow(ctx: &egui::Context, folder: PathBuf) -> std::io::Result<Self> {
        let (sender, updates) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (ctx, stopped, log) = (ctx.clone(), Arc::clone(&stop), folder.join(LOG));
        std::thread::Builder::new()
            .name("run-log".into())
            .spawn(move || {
                let mut tail = Tail::new(log);
                let mut first = true;
                while !stopped.load(Ordering::Relaxed) {
                    match tail.read_on() {
                        Ok(false) if !first => (),
                        Ok(_) => {
                            if sender.send(Ok(tail.curves.clone())).is_err() {
                                return;
                            }
                            ctx.request_repaint();
                        }
                        Err(reason) => {
                            if first && sender.send(Err(reason)).is_err() {
                                return;
                            }
                            ctx.request_repaint();
                        }
                    }
                    first = false;
                    std::thread::sleep(PAUSE);
                }
            })?;
        Ok(Self {
            folder,
            curves: Ok(Curves::default()),
            updates,
            was_read: false,
            stop,
        })
    }

    /// Takes in what came since the last frame.
    pub(crate) fn poll(&mut self) {
        if let Some(newest) = self.updates.try_iter().last() {
            self.curves = newest;
            self.was_read = true;
        }
    }

    /// Waits until the log has been read once.
    pub(crate) fn wait(&mut self) {
        self.poll();
        if !self.was_read
            && let Ok(first) = self.updates.recv()
        {
            self.curves = first;
            self.was_read = true;
        }
    }
}

impl Drop for RunLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How far a log has been read.
struct Tail {
    path: PathBuf,
    read: u64,
    /// A line whose end has not been written yet.
    rest: Vec<u8>,
    curves: Curves,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            rest: Vec::new(),
            curves: Curves::default(),
        }
    }

    /// Reads what is new, whole lines only; whether there was anything. A log that has become shorter, as that of a run
    /// that was resumed, is read anew.
    fn read_on(&mut self) -> Result<bool, String> {
        let mut file = fs_err::File::open(&self.path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        if length < self.read {
            *self = Self::new(std::mem::take(&mut self.path));
        }
        let mut grew = false;
        while self.read < length {
            file.seek(SeekFrom::Start(self.read))
                .map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            let wanted = (length - self.read).min(CHUNK);
            let read = (&mut file)
                .take(wanted)
                .read_to_end(&mut bytes)
                .map_err(|error| error.to_string())?;
            if read == 0 {
                break;
            }
            self.read += read as u64;
            grew = true;
            self.rest.extend(bytes);
            let whole = self
                .rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            for line in lines.split(|byte| *byte == b'\n') {
                // A line that is no event is somebody else's: the curves do without.
                if let Ok(event) = serde_json::from_slice(line) {
                    self.curves.take(event);
                }
            }
        }
        Ok(grew)
    }
}

/// Whether a folder is that of a run.
pub(crate) fn is_run(folder: &Path) -> bool {
    folder.join(LOG).is_file() || folder.join("predictions.csv").is_file()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn step(step: u64, mae: f64) -> String {
        format!(
            "{{\"event\":\"step\",\"step\":{step},\"epoch\":0,\"learning_rate\":0.1,\
             \"mae_years\":[{mae},{}],\"loss\":[1,1]}}\n",
            mae + 1.0
        )
    }

    #[test]
    fn a_growing_log_is_read_on_line_by_line_and_a_shortened_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG);
        let mut file = fs_err::File::create(&path).unwrap();
        file.write_all(step(0, 10.0).as_bytes()).unwrap();
        let (half, other) = (step(1, 10.0), step(1, 10.0));
        file.write_all(&half.as_bytes()[..20]).unwrap();
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.read_on(), Ok(true));
        assert_eq!(tail.curves.n_steps, 1);
        file.write_all(&other.as_bytes()[20..]).unwrap();
        let epoch = "{\"event\":\"epoch\",\"epoch\":0,\"step\":2,\"mae_years\":[9.5,10.5],\
                     \"orthogonality_error\":[],\"data_wait_share\":0}\n\
                     {\"event\":\"validation\",\"epoch\":0,\"step\":2,\"n\":3,\"mae_years\":[8.0,7.0]}\n\
                     {\"event\":\"checkpoint\",\"step\":2}\n";
        file.write_all(epoch.as_bytes()).unwrap();
        assert_eq!(tail.read_on(), Ok(true));
        assert_eq!(tail.read_on(), Ok(false));
        let blocks = &tail.curves.blocks;
        assert_eq!(blocks[1].steps, [[0.0, 11.0], [1.0, 11.0]]);
        assert_eq!(blocks[0].epochs, [[2.0, 9.5]]);
        assert_eq!(blocks[1].validation, [[2.0, 7.0]]);
        assert_eq!(
            tail.curves.summary(),
            "2 steps, 1 epochs; last validation MAE by block 8.0, 7.0 years"
        );
        fs_err::write(&path, step(0, 5.0)).unwrap();
        assert_eq!(tail.read_on(), Ok(true));
        assert_eq!(tail.curves.blocks[0].steps, [[0.0, 5.0]]);
    }

    #[test]
    fn a_long_run_keeps_its_curve_short_and_whole() {
        let mut curves = Curves::default();
        for number in 0..20_000 {
            curves.take(Event::Step {
                step: number,
                mae_years: vec![3.0],
            });
        }
        let steps = &curves.blocks[0].steps;
        assert!(
            (MOST_POINTS / 4..=MOST_POINTS).contains(&steps.len()),
            "{}",
            steps.len()
        );
        assert!(steps[0][0] == 0.0 && steps[steps.len() - 1][0] > 19_900.0);
    }
}
