//! Runs other programs to their end.

use std::process::{Command, Stdio};

use crate::error::{During, Error, Result};

/// Runs `command` and hands back its standard output.
///
/// # Errors
/// The command cannot be started, or fails: then the error holds what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().during(|| shown(command))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Err(Error::from(format!("{} ({}):\n{}", shown(command), out.status, said.trim_end())))
}

/// Runs `command`, which speaks to the terminal itself.
///
/// # Errors
/// The command cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().during(|| shown(command))?;
    if status.success() { Ok(()) } else { Err(Error::from(format!("{} ({status})", shown(command)))) }
}

/// Whether `command` can be run and succeeds; what it says is lost.
pub fn succeeds(command: &mut Command) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_ran_how_it_ended_and_what_it_said() {
        let shell = |script: &str| output(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo a; echo b >&2").unwrap(), "a\n");
        let error = shell("echo a; echo b >&2; exit 3").unwrap_err().to_string();
        assert_eq!(error, "sh -c echo a; echo b >&2; exit 3 (exit status: 3):\na\nb");
        let error = run(&mut Command::new("/nowhere/program")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/program: "), "{error}");
    }
}
