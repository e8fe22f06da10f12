//! What every command is given: the printer, the stop flag, and the project.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use brainage_pipelines::cache::Cache;

use crate::config::project::{Project, ProjectError};

use super::exit::CliError;
use super::printer::Printer;
use super::stop::Stop;

/// What every command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Writes the answer, and what is said beside it.
    pub printer: Printer,
    /// Says when to stop.
    pub stop: Stop,
    /// `--project`, as it was given.
    pub project_file: Option<PathBuf>,
}

impl Context {
    /// The project: the file of `--project`, else the one found upward from the working directory, if any.
    ///
    /// # Errors
    /// [`ProjectError`] where the file cannot be read or understood.
    pub fn project(&self) -> anyhow::Result<Option<Project>> {
        let path = match &self.project_file {
            Some(path) => Some(path.clone()),
            None => Project::find_upward(&working_directory()?),
        };
        Ok(path.map(|path| Project::read(&path)).transpose()?)
    }

    /// The project of a command that cannot do without.
    ///
    /// # Errors
    /// As [`Context::project`], and [`ProjectError::NotFound`].
    pub fn required_project(&self) -> anyhow::Result<Project> {
        match self.project()? {
            Some(project) => Ok(project),
            None => Err(ProjectError::NotFound {
                from: working_directory()?,
            }
            .into()),
        }
    }

    /// Folder of the cache: the one given, else the project's, else the user's own.
    ///
    /// # Errors
    /// As [`Context::project`], and where the user has no home.
    pub fn cache_dir(&self, given: Option<&Path>) -> anyhow::Result<PathBuf> {
        if let Some(given) = given {
            return Ok(given.to_path_buf());
        }
        if let Some(project) = self.project()? {
            return Ok(project.cache_dir);
        }
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable("XDG_CACHE_HOME")
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .or_else(|| variable("LOCALAPPDATA"))
            .map(|folder| folder.join("brainage"))
            .ok_or_else(|| {
                CliError::usage("no folder for the cache", "name one with --cache DIR").into()
            })
    }

    /// Opens the cache of [`Context::cache_dir`].
    ///
    /// # Errors
    /// As [`Context::cache_dir`], and where the folder cannot be made.
    pub fn cache(&self, given: Option<&Path>) -> anyhow::Result<Cache> {
        Ok(Cache::open(&self.cache_dir(given)?)?)
    }
}

fn working_directory() -> anyhow::Result<PathBuf> {
    std::env::current_dir().context("the working directory cannot be found")
}
