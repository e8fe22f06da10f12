//! `brainage init`: writes a commented project file.

use std::path::PathBuf;

use brainage_pipelines::atomic::write_atomically;

use crate::config::project::PROJECT_FILE;

use super::{CliError, Context, ExitStatus};

/// What is written.
const COMMENTED: &str = include_str!("init.toml");

/// Write a commented brainage.toml
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  brainage init")]
pub struct Args {
    /// Folder of the project
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Replace the file that is there
    #[arg(long)]
    force: bool,
}

/// Writes the file, unless there is one.
///
/// # Errors
/// [`CliError`] where there is one already, or the folder cannot be written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let path = args.folder.join(PROJECT_FILE);
    if path.exists() && !args.force {
        let message = format!("there is a project file already: `{}`", path.display());
        return Err(CliError::failed(message, "edit it, or replace it with --force").into());
    }
    fs_err::create_dir_all(&args.folder)?;
    write_atomically(&path, |out| out.write_all(COMMENTED.as_bytes()))?;
    context
        .printer
        .object(&serde_json::json!({ "project": path }))?;
    context.printer.line(&path.display().to_string())?;
    context
        .printer
        .hint("name your cohorts in it, then check them with `brainage index --check`");
    Ok(ExitStatus::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::project::Project;

    #[test]
    fn the_file_parses_as_it_is_and_with_every_key_uncommented() {
        let path = std::path::Path::new("brainage.toml");
        assert!(Project::parse(COMMENTED, path).unwrap().cohorts.is_empty());
        // Settings are commented with `#` alone, explanations with `# `.
        let uncommented: String = COMMENTED
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with([' ', '#']) => setting,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let project = Project::parse(&uncommented, path).unwrap();
        assert_eq!(project.cohorts.len(), 2);
        assert_eq!(project.cohorts[1].criteria.age, Some([18.0, 100.0]));
        assert!(project.train_config.is_some());
    }
}
