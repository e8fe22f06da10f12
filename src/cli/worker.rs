//! `brainage worker`: lends a device of this machine to a training in another process.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::engine::device::{self, DeviceName};
use crate::engine::remote::{TOKEN_FILE, Token, lend, loopback};

use super::{CliError, Context, ExitStatus};

/// Lend a device to trainings in other processes
///
/// Listens on this machine alone, for the connection is not encrypted; reach a worker on another machine through a
/// tunnel. Whoever shows the token of the file is served; a file that is not there is made, with a random token. Ends at
/// Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  brainage worker --listen 127.0.0.1:7000 --token-file ~/.brainage-token\n  \
    BRAINAGE_TOKEN_FILE=~/.brainage-token brainage train --devices remote:127.0.0.1:7000,cpu"
)]
pub struct Args {
    /// Loopback address and port
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub listen: SocketAddr,
    /// File with the token, which nobody else may read; also as BRAINAGE_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Device that is lent
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceName,
}

/// Serves until it is told to end.
///
/// # Errors
/// Where there is no token, the device is not there, or the address is in use.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if !cfg!(feature = "remote") {
        let hint = "build it with `cargo build --release --features remote`";
        return Err(
            CliError::failed("this program was built without the feature `remote`", hint).into(),
        );
    }
    let named = args.token_file.clone();
    let Some(file) = named.or_else(|| std::env::var_os(TOKEN_FILE).map(PathBuf::from)) else {
        let hint = format!("give --token-file, or {TOKEN_FILE} in the environment");
        return Err(CliError::usage("no token file was named", hint).into());
    };
    if !file.exists() {
        make_token(&file)?;
        let said = format!("made a token: `{}`", file.display());
        context.printer.status(&said);
    }
    let token = Token::read(&file)?;
    if matches!(args.device, DeviceName::Remote(_)) {
        let hint = "a worker lends a device of its own machine: cpu or cuda:N";
        return Err(CliError::usage(format!("cannot lend {}", args.device), hint).into());
    }
    let lane = device::open_one(args.device)?;
    let listener = TcpListener::bind(args.listen).map_err(|error| {
        let said = format!("cannot listen on {}: {error}", args.listen);
        CliError::failed(said, "is another worker there? give another port")
    })?;
    let address = listener.local_addr()?;
    let said = format!("lending {} at remote:{address}; Ctrl-C ends", args.device);
    context.printer.status(&said);
    lend(lane.device, listener, &token)?;
    Ok(ExitStatus::from_refused(0))
}

/// Writes a random token, readable by its owner alone from the first moment.
fn make_token(file: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    let mut file = options.open(file)?;
    for byte in bytes {
        write!(file, "{byte:02x}")?;
    }
    writeln!(file)?;
    Ok(())
}
