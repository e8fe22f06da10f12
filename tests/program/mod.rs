//! Runs the program as its user does.

use std::path::Path;

/// What the program said.
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program in a folder.
pub(crate) fn brainage(folder: &Path, arguments: &[&str]) -> anyhow::Result<Answer> {
    let output = assert_cmd::cargo::cargo_bin_cmd!("brainage")
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("user-cache"))
        .env_remove("BRAINAGE_LOG")
        .env_remove("BRAINAGE_CONV")
        .output()?;
    Ok(Answer {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// That it refused: nothing on stdout, these texts on stderr.
pub(crate) fn check_refusal(answer: &Answer, code: i32, expected: &[&str]) {
    assert_eq!(answer.code, Some(code), "{}", answer.stderr);
    assert_eq!(answer.stdout, "");
    for text in expected {
        assert!(
            answer.stderr.contains(text),
            "no `{text}` in:\n{}",
            answer.stderr
        );
    }
}
