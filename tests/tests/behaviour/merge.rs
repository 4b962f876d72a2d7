//! What becomes of a field that several write: its rule decides, the same in core, in batches and in SQL, in whatever order writes
//! arrive and whatever clocks say.

mod carried;
mod clock_ahead;
mod deletions;
mod document_stamps;
mod functions;
mod recheck;
mod rule_agreement;
mod rules;
mod rules_that_change;
mod stamps;
