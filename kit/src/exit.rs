//! How a program ends.

use std::process::ExitCode;

use crate::error::{Error, Result};

/// The code that tells whether all was well; a failure is shown under the program's name.
pub fn code(program: &str, well: Result<bool>) -> ExitCode {
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The code for a command line that is wrong, which is shown.
pub fn misused(error: &Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}
