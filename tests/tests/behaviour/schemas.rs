//! Tables as people have them: any type, key and partition can be attached or is refused with a reason, and tables may be altered
//! afterwards.

mod alter;
mod attaching;
mod columns;
mod keys;
mod made_by_others;
mod partitions;
