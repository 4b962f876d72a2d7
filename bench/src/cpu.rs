//! The processor time of servers and of other processes.

use cache_sync_cluster::Cluster;
use cache_sync_kit::Result;
use std::fs;

/// Seconds of processor time that the server's processes have taken so far: those that run, and those that have ended.
pub(crate) fn server_seconds(cluster: &Cluster) -> Result<f64> {
    let postmaster = cluster.postmaster_pid()?;
    loop {
        let before = Process::read(postmaster).ok_or("the server has ended")?;
        let children = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            // It may have ended meanwhile.
            .filter_map(Process::read)
            .filter(|process| process.parent == postmaster);
        let ticks = before.own + before.of_ended_children + children.map(|child| child.own).sum::<u64>();
        // A child that the server buried in between may be missing from both.
        if Process::read(postmaster).ok_or("the server has ended")?.of_ended_children == before.of_ended_children {
            return Ok(seconds(ticks));
        }
    }
}

/// Seconds of processor time that a process has taken so far.
pub(crate) fn process_seconds(pid: u32) -> Result<f64> {
    Ok(seconds(Process::read(pid).ok_or("the process has ended")?.own))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// What proc(5) says of a process; times in ticks.
struct Process {
    parent: u32,
    own: u64,
    of_ended_children: u64,
}

impl Process {
    /// None: there is none of this number.
    fn read(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Counted from the state, which proc(5) counts as 3.
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
        Some(Process {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            of_ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::server_seconds;
    use cache_sync_cluster::Options;

    #[test]
    fn time_of_backends_that_end_meanwhile_is_not_lost() {
        let cluster = Options::default().preload(false).start().expect("a cluster");
        let script = cluster.data_dir().join("work.sql");
        std::fs::write(&script, "SELECT count(*) FROM generate_series(1, 200000)").expect("a script");
        let mut pgbench = cluster.client("pgbench", "postgres");
        // Longer than it takes, however busy the machine is.
        pgbench.args(["--connect", "--no-vacuum", "--client=4", "--time=60", "--file"]).arg(&script);
        let mut pgbench = pgbench.stdout(std::process::Stdio::null()).spawn().expect("pgbench");
        let (begin, mut last, mut looks) = (server_seconds(&cluster).expect("a time"), 0.0, 0);
        while looks < 100 || last - begin < 1.0 {
            assert!(pgbench.try_wait().expect("pgbench").is_none(), "{looks} looks, {} s", last - begin);
            let now = server_seconds(&cluster).expect("a time");
            assert!(now >= last, "{now} s after {last} s");
            (last, looks) = (now, looks + 1);
        }
        pgbench.kill().and_then(|()| pgbench.wait()).expect("pgbench ends");
    }
}
