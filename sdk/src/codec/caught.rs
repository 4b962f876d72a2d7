//! What a type's own code does wrong: a panic in a `Serialize` or `Deserialize` is the fault of one value, not of the task that met it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the type's; a panic comes back as its message.
///
/// # Errors
/// It panicked.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // What the code was working on is dropped with it.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| format!("the type panicked: {}", message(&*panic)))
}

/// Drops what may be the last of a value: whoever does so runs the type's own code.
pub(crate) fn let_go<T>(value: T) {
    if let Err(panic) = caught(|| drop(value)) {
        tracing::error!(panic, "a value could not be dropped");
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_what_it_said() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(|| -> i32 { panic!("no {}", "way") }), Err("the type panicked: no way".into()));
        assert_eq!(caught(|| -> i32 { panic!("no") }), Err("the type panicked: no".into()));
    }
}
