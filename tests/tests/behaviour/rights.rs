//! Everybody gets what his rights on the table allow, and nobody more: not by a call, by a name that he takes, by the feed or by
//! code that he plants.

mod attacks;
mod hears_nothing;
mod maintenance;
mod only_delete;
mod public;
mod roles;
mod some_columns;
