//! How SQL calls this library.
//!
//! ```text
//! function   how functions are declared and run    answer   results that are one value or one row
//! argument   their arguments                       rows     results of several rows
//! triggered  what a trigger's function is told
//! ```
//! `function` sees to it that the process has the ring before any function's body runs, which is why this room stands above `ring`.

pub(crate) mod answer;
pub(crate) mod argument;
pub(crate) mod function;
pub(crate) mod rows;
pub(crate) mod triggered;
