//! Runs commands.

use std::process::{Command, Stdio};

use crate::error::{During, Error, Result};

/// Runs `command` and hands back its standard output.
///
/// # Errors
/// The command cannot be started, or fails: then the error holds what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().during(|| shown(command))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Err(Error::new(format!("{} ({}):\n{}", shown(command), out.status, said.trim_end())))
}

/// Runs `command`, which speaks to the terminal itself.
///
/// # Errors
/// The command cannot be started, or fails.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().during(|| shown(command))?;
    if status.success() { Ok(()) } else { Err(Error::new(format!("{} ({status})", shown(command)))) }
}

/// Whether `command` can be run and succeeds; what it says is lost.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
