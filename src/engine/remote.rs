//! Devices of other processes: `brainage worker` lends one, `remote:ADDRESS` uses it.
//!
//! The framework's own remote back end carries the tensors over a WebSocket. That connection is not encrypted and the
//! token travels in clear, so both ends keep to loopback addresses: another machine is reached through a tunnel, such as
//! `ssh -L 7000:127.0.0.1:7000 HOST`. Nobody is served without the token.
//!
//! Graphs and optimizers stay with the client; the worker computes plain tensor operations. A run on remote devices
//! therefore gives the numbers of a run with the framework's operations (`BRAINAGE_CONV=burn`).

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::Error;

/// Environment variable with the path of the token file, for both ends.
pub const TOKEN_FILE: &str = "BRAINAGE_TOKEN_FILE";
/// Fewest characters of a token.
const SHORTEST: usize = 16;

/// What a client shows to be served. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The first line of a file that nobody else can read.
    ///
    /// # Errors
    /// [`Error::Token`] for a file that others can read or whose token is too short, and what the file system says.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refuse = |message: String| {
            Err(Error::Token {
                path: path.to_path_buf(),
                message,
            })
        };
        let text = fs_err::read_to_string(path)?;
        if is_open_to_others(path)? {
            return refuse(
                "others can read the token, expected mode 600 (`chmod 600 FILE`)".into(),
            );
        }
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < SHORTEST {
            let found = token.len();
            return refuse(format!(
                "a token of {found} characters, expected at least {SHORTEST}"
            ));
        }
        Ok(Self(token.to_owned()))
    }

    /// The token of [`TOKEN_FILE`].
    fn of_environment() -> Result<Self, Error> {
        match std::env::var_os(TOKEN_FILE) {
            Some(path) => Self::read(&PathBuf::from(path)),
            None => Err(Error::Token {
                path: PathBuf::from(TOKEN_FILE),
                message: "a remote device needs the path of the worker's token file in this environment variable".into(),
            }),
        }
    }
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> Result<bool, Error> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs_err::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> Result<bool, Error> {
    Ok(false)
}

/// Reads a loopback address, such as `127.0.0.1:7000`, `localhost:7000` or `[::1]:7000`.
///
/// # Errors
/// In words, for any other address.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let numeric = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|error| {
            format!("`{text}` is no address ({error}), expected one such as 127.0.0.1:7000")
        })?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "{address} is not on this machine, and the connection is not encrypted: reach it through a tunnel (`ssh -L {port}:127.0.0.1:{port} HOST`) and give 127.0.0.1:{port}",
            port = address.port()
        ))
    }
}

/// Opens the device that a worker lends.
///
/// # Errors
/// [`Error::Token`] without a token, [`Error::Device`] where no worker answers or it refuses the token.
#[cfg(feature = "remote")]
pub fn open(address: SocketAddr) -> Result<Device, Error> {
    let token = Token::of_environment()?;
    let host = burn::remote::RemoteHost::websocket(&format!("ws://{address}"));
    let host = host.with_credential(token.0.as_str());
    Device::remote_options(&host)
        .init()
        .map_err(|error| Error::Device {
            device: format!("remote:{address}"),
            reason: error.to_string(),
        })
}

/// Lends a device to whoever shows the token, until the process is told to end.
///
/// # Errors
/// [`Error::Device`] where the address cannot be listened on.
#[cfg(feature = "remote")]
pub fn lend(device: Device, listener: std::net::TcpListener, token: &Token) -> Result<(), Error> {
    use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
    let refuse = |reason: String| Error::Device {
        device: "worker".into(),
        reason,
    };
    let authorizer = TokenAuthorizer::new(token.0.as_str()).map_err(|e| refuse(e.to_string()))?;
    let transport = WebSocketTransport::from_listener(listener);
    RemoteServer::new([device])
        .with_authorizer(authorizer)
        .serve(transport)
        .map_err(|e| refuse(e.to_string()))
}

/// Refuses in words.
///
/// # Errors
/// Always.
#[cfg(not(feature = "remote"))]
pub fn open(address: SocketAddr) -> Result<Device, Error> {
    Token::of_environment()?;
    Err(not_built(&format!("remote:{address}")))
}

/// Refuses in words.
///
/// # Errors
/// Always.
#[cfg(not(feature = "remote"))]
pub fn lend(_: Device, _: std::net::TcpListener, _: &Token) -> Result<(), Error> {
    Err(not_built("worker"))
}

#[cfg(not(feature = "remote"))]
fn not_built(device: &str) -> Error {
    Error::Device {
        device: device.to_owned(),
        reason: "this program was built without the feature `remote`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_machines_are_refused_with_the_way_there() {
        for text in ["127.0.0.1:7000", "localhost:7000", "[::1]:7000"] {
            assert_eq!(loopback(text).map(|a| a.port()), Ok(7000), "{text}");
        }
        for text in ["0.0.0.0:7000", "192.168.0.3:7000", "[::]:7000"] {
            let refused = loopback(text).expect_err(text);
            assert!(refused.contains("ssh -L 7000:"), "{refused}");
        }
        for text in ["", "7000", "host", "127.0.0.1", "localhost:x"] {
            assert!(loopback(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_token_is_read_only_where_nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs_err::write(&path, "0123456789abcdef\n").unwrap();
        let mode = |mode| fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(Token::read(&path).unwrap_err().to_string().contains("600"));
        mode(0o600);
        assert_eq!(
            Token::read(&path).unwrap(),
            Token("0123456789abcdef".into())
        );
        fs_err::write(&path, "short").unwrap();
        let refused = Token::read(&path).unwrap_err().to_string();
        assert!(refused.contains("5 characters"), "{refused}");
        assert!(!format!("{:?}", Token("secret".into())).contains("secret"));
    }
}
