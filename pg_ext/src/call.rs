//! How SQL calls this library: functions, their arguments and their results.

pub(crate) mod answer;
pub(crate) mod function;
pub(crate) mod rows;
