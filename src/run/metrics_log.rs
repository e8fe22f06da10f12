//! `metrics.jsonl`: one event of the training a line, as JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use brainage_pipelines::atomic::write_atomically;
use fs_err::{File, OpenOptions};

use crate::Error;
use crate::engine::event::{Event, EventSink};

/// Appends events to the log of a run; each line is written at once.
#[derive(Debug)]
pub struct MetricsLog {
    file: File,
}

impl MetricsLog {
    /// Opens the log for a training that goes on after `n_steps` steps: later events, and a line that was cut, are
    /// dropped first, since they come again. The checkpoint that it goes on from is entered where the program was killed
    /// between writing it and saying so.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn open(path: &Path, n_steps: u64) -> Result<Self, Error> {
        if path.exists() {
            let mut kept: Vec<Event> = read(path)?
                .into_iter()
                .filter(|event| steps_before(event) <= n_steps)
                .collect();
            let checkpoint = Event::Checkpoint { step: n_steps };
            if n_steps > 0 && kept.last() != Some(&checkpoint) {
                kept.push(checkpoint);
            }
            write_atomically(path, |out| {
                kept.iter().try_for_each(|event| {
                    serde_json::to_writer(&mut *out, event)?;
                    out.write_all(b"\n")
                })
            })?;
        }
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
        })
    }
}

impl EventSink for MetricsLog {
    fn emit(&mut self, event: &Event) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// The events of a log; a last line that was cut by a kill is left out.
///
/// # Errors
/// [`Error::Run`] for a line that is no event, with its number.
pub fn read(path: &Path) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    let mut lines = BufReader::new(File::open(path)?)
        .lines()
        .enumerate()
        .peekable();
    while let Some((number, line)) = lines.next() {
        match serde_json::from_str(&line?) {
            Ok(event) => events.push(event),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                let message = format!("line {} is no event of a training ({error})", number + 1);
                return Err(Error::Run {
                    path: PathBuf::from(path),
                    message,
                });
            }
        }
    }
    Ok(events)
}

/// How many steps had been taken when the event happened.
fn steps_before(event: &Event) -> u64 {
    match event {
        Event::Step { step, .. } => step + 1,
        Event::Epoch { step, .. } | Event::Validation { step, .. } | Event::Checkpoint { step } => {
            *step
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_has_every_step_once_even_after_a_cut_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let step = |step| Event::Step {
            step,
            epoch: 0,
            learning_rate: 0.1,
            mae_years: vec![1.0],
            error_percent: Vec::new(),
            loss: vec![0.5],
        };
        let mut log = MetricsLog::open(&path, 0).unwrap();
        for number in 0..5 {
            log.emit(&step(number)).unwrap();
        }
        drop(log);
        let text = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, &text.as_bytes()[..text.len() - 9]).unwrap();
        let mut log = MetricsLog::open(&path, 3).unwrap();
        for number in 3..6 {
            log.emit(&step(number)).unwrap();
        }
        let checkpoint = Event::Checkpoint { step: 3 };
        let mut expected: Vec<Event> = (0..6).map(step).collect();
        expected.insert(3, checkpoint);
        assert_eq!(read(&path).unwrap(), expected);
        // What says that the checkpoint is there already says it once.
        MetricsLog::open(&path, 3).unwrap();
        assert_eq!(read(&path).unwrap(), expected[..4]);
    }
}
