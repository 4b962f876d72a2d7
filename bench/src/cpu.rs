//! The processor time of a server.

use crate::Result;
use cache_sync_cluster::Cluster;
use std::fs;

/// Seconds of processor time that the server's processes have taken so far: those that run, and those that have ended.
pub(crate) fn server_seconds(cluster: &Cluster) -> Result<f64> {
    let file = fs::read_to_string(cluster.data_dir().join("postmaster.pid"))?;
    let postmaster: u64 = file.lines().next().ok_or("postmaster.pid is empty")?.trim().parse()?;
    let mut ticks = 0;
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // Counted from the state, as proc(5) counts them from 3.
        let (parent, own, of_ended_children) = (number(1), number(11) + number(12), number(13) + number(14));
        if pid == postmaster {
            ticks += own + of_ended_children;
        } else if parent == postmaster {
            ticks += own;
        }
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
