//! `brainage model`: what is in a model file, and whether it is whole.

use std::path::PathBuf;

use burn::tensor::Device;

use crate::model_file::Model;

use super::{Context, ExitStatus};

/// Show or verify a model file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage model show model.safetensors --json\n  \
    brainage model verify model.safetensors"
)]
pub struct Args {
    /// What to do with it
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done with a model file.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Say what is in it
    Show {
        /// Model file
        model: PathBuf,
    },
    /// Check its hash, and name and shape of every tensor
    Verify {
        /// Model file
        model: PathBuf,
    },
}

/// Shows or verifies a model file; loading checks its hash and every tensor.
///
/// # Errors
/// Where the file is not a whole model.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    match &args.action {
        Action::Show { model } => {
            let description = Model::load(model, &Device::flex())?.description;
            printer.object(&description)?;
            printer.line(&serde_json::to_string_pretty(&description)?)?;
        }
        Action::Verify { model } => {
            let loaded = Model::load(model, &Device::flex())?;
            printer.object(&serde_json::json!({ "whole": true, "name": loaded.short_name() }))?;
            printer.line(&format!("whole: `{}`", model.display()))?;
        }
    }
    Ok(ExitStatus::Done)
}
