//! Tables as people have them: any type, key and partition can be attached or is refused with a reason, and tables may be altered
//! afterwards.

mod alter;
mod attach_at_once;
mod attaching;
mod columns;
mod ddl_cost;
mod ddl_in_old_snapshot;
mod keys;
mod made_by_others;
mod partitions;
mod stays_heard;
