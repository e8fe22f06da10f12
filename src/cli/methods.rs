//! `brainage methods`: what `train.method` can be.

use crate::config::method::{METHODS, MethodCard};

use super::{CliError, Context, ExitStatus};

/// List the training methods, or tell all about one
///
/// A method is set by `--set train.method=NAME` in `train`, `vision train` and `vision study`. It decides some keys of the
/// config; those that contradict it are refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage methods\n  brainage methods dgl\n  \
    brainage vision train --config CONFIG --set train.method=dgl"
)]
pub struct Args {
    /// Only this one, with all that it decides
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Prints one line a method, or one method whole.
///
/// # Errors
/// [`CliError`] where there is no method of this name.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let printer = &context.printer;
    let Some(name) = &args.name else {
        printer.object(&METHODS)?;
        for card in &METHODS {
            printer.line(&format!("{:<17} {}", card.method.name(), card.line))?;
        }
        printer.hint("`brainage methods NAME` tells what a method decides, costs and applies to");
        return Ok(ExitStatus::Done);
    };
    let known = METHODS.iter().find(|card| card.method.name() == *name);
    let card = known.ok_or_else(|| {
        let message = format!("no method is called `{name}`");
        CliError::usage(message, "`brainage methods` lists them")
    })?;
    printer.object(card)?;
    for line in told(card) {
        printer.line(&line)?;
    }
    Ok(ExitStatus::Done)
}

fn told(card: &MethodCard) -> Vec<String> {
    let mut lines = vec![
        format!("{}: {}", card.method.name(), card.line),
        format!("  paper    {}", card.paper),
        format!("  for      {}", card.applies_to),
        format!("  costs    {}", card.costs),
    ];
    if !card.differs.is_empty() {
        lines.push(format!("  differs  {}", card.differs));
    }
    let settings = card.settings.iter();
    lines.extend(settings.map(|setting| format!("  decides  {setting}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_told_whole() {
        for card in &METHODS {
            let told = told(card).join("\n");
            for part in [
                card.line,
                card.paper,
                card.applies_to,
                card.costs,
                card.differs,
            ] {
                assert!(told.contains(part), "{part}");
            }
            assert!(card.settings.iter().all(|setting| told.contains(setting)));
        }
    }
}
