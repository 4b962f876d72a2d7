//! What a node holds is never older than it promises: it follows every change, whoever makes it, and where it cannot know (silence,
//! an outage, a killed server, another one in its place) it asks Postgres before it serves.

mod batch_under_way;
mod change_before_outcome;
mod commit_without_publish;
mod contract;
mod follows_changes;
mod held_back;
mod kills;
mod late;
mod outage;
mod read_in_doubt;
mod restart;
mod silence;
mod sources_of_change;
mod stale_service;
mod standby;
mod subscription;
mod suspended;
mod swapped;
mod switchover;
mod two_servers;
mod waiting_insert;
