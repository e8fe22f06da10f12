//! What can go wrong in training and prediction.

use std::path::PathBuf;

/// An error of this library; the crates for cohorts, pipelines, synthesis and viewing have their own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be.
    #[error("{message}: `{key}`")]
    Config {
        /// The key, such as `model.cuts`.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A TOML file that does not say what it should.
    #[error("{message} (line {line}): `{}`", path.display())]
    Toml {
        /// The file, or the flag it came from.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, key included.
        message: String,
    },
    /// A file or folder that cannot be read or written; the cause names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A device that this program or machine does not have.
    #[error("{reason}: `{device}`")]
    Device {
        /// As it was asked for.
        device: String,
        /// Why not.
        reason: String,
    },
    /// Training data that nothing can be learned from.
    #[error("{0}")]
    Data(String),
    /// The loss is no number any more.
    #[error("loss is {loss} (samples {samples})")]
    NotFinite {
        /// NaN or infinite.
        loss: f32,
        /// Block, from 1.
        block: usize,
        /// Step of the run.
        step: u64,
        /// Who was in the batch.
        samples: String,
    },
    /// A block did not do what it was asked; the cause says why.
    #[error("worker of device {device} stopped in block {block} at step {step}")]
    Block {
        /// Its device.
        device: String,
        /// Block, from 1.
        block: usize,
        /// Step of the run; after an epoch, the last one of it.
        step: u64,
        /// Why.
        #[source]
        cause: Box<Self>,
    },
    /// A panic, such as a device's driver answers with, in its words.
    #[error("{0}")]
    Panic(String),
    /// Ctrl-C or SIGTERM; what was done is saved.
    #[error("stopped at step {step}; the run can be resumed: `{}`", run.display())]
    Stopped {
        /// Step of the run.
        step: u64,
        /// Its folder.
        run: PathBuf,
    },
    /// A model file that is not one, is damaged, or does not fit.
    #[error("{message}: `{}`", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file of a data set that is no image, or damaged.
    #[error("{message}: `{}`", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A checkpoint that is damaged or of another run.
    #[error("{message}: `{}`", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A token file that cannot be used.
    #[error("{message}: `{}`", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A run folder that is not one, or holds another run.
    #[error("{message}: `{}`", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Error {
    /// Whether a training diverged: the loss of a block is no number any more.
    pub fn is_divergence(&self) -> bool {
        match self {
            Self::NotFinite { .. } => true,
            Self::Block { cause, .. } => cause.is_divergence(),
            _ => false,
        }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Block { cause, .. } => cause.hint(),
            Self::NotFinite { .. } => {
                Some("lower train.optimizer.learning_rate, or look at the named scans")
            }
            Self::Stopped { .. } => Some(
                "continue with `--resume RUN` of the same command; a study goes on when it is started again",
            ),
            Self::Image { .. } => Some("replace the file, or remove it from the data set"),
            Self::Config { .. } => {
                Some("`config.toml` of any run, and the files in configs/, hold every key")
            }
            Self::Model { .. } => {
                Some("give the model.safetensors that a run of this program wrote")
            }
            _ => None,
        }
    }
}
