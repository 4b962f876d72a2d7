//! Memory of the nodes, connections, memory of the server's processes: at the first moment of quiet, at most, and at the last.

use crate::faults::Servers;
use crate::history::{Rule, Violation};
use cache_sync_kit::locked;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_secs(1);
/// What is left at the end may be so many times what there was at the first moment of quiet ...
const GROWTH_MAX: f64 = 1.5;
/// ... and so much more: allocators keep what was freed, and caches fill.
const SLACK_KB: u64 = 16 * 1024;
const SLACK_CONNECTIONS: u64 = 4;
/// Fewer moments of quiet tell nothing.
const QUIETS_MIN: u64 = 3;

/// One sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Of the largest node.
    node_kb: u64,
    /// Of all of the server's processes, without what they share.
    server_kb: u64,
    /// Of the largest of them.
    backend_kb: u64,
    /// Processes that serve somebody.
    connections: u64,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) first: Sample,
    pub(crate) peak: Sample,
    pub(crate) last: Sample,
    quiets: u64,
}

pub(crate) struct Resources {
    nodes: Vec<u32>,
    servers: Servers,
    usage: Arc<Mutex<Usage>>,
    task: JoinHandle<()>,
}

impl Drop for Resources {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Resources {
    pub(crate) fn watch(nodes: Vec<u32>, servers: Servers) -> Resources {
        let usage = Arc::<Mutex<Usage>>::default();
        let (pids, of, seen) = (nodes.clone(), servers.clone(), usage.clone());
        let task = tokio::spawn(async move {
            loop {
                let sample = Sample::take(&pids, &of.data_dir());
                {
                    let mut seen = locked(&seen);
                    seen.peak = seen.peak.with(sample, u64::max);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Resources { nodes, servers, usage, task }
    }

    pub(crate) fn is_quiet(&self) {
        let sample = Sample::take(&self.nodes, &self.servers.data_dir());
        let mut usage = locked(&self.usage);
        if usage.quiets == 0 {
            usage.first = sample;
        }
        usage.last = sample;
        usage.quiets += 1;
    }

    pub(crate) fn take(&self) -> Usage {
        *locked(&self.usage)
    }
}

impl Sample {
    fn take(nodes: &[u32], data_dir: &Path) -> Sample {
        let mut sample = Sample::default();
        for pid in nodes {
            sample.node_kb = sample.node_kb.max(status(*pid, "VmRSS:").unwrap_or(0));
        }
        let postmaster = std::fs::read_to_string(data_dir.join("postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = postmaster.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else {
            return sample;
        };
        let children =
            std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let own = status(pid, "RssAnon:").unwrap_or(0);
            sample.server_kb += own;
            let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // `postgres: user database host(port) what it does`
            if title.contains("postgres: postgres ") {
                sample.connections += 1;
                sample.backend_kb = sample.backend_kb.max(own);
            }
        }
        sample
    }

    fn with(self, other: Sample, join: impl Fn(u64, u64) -> u64) -> Sample {
        Sample {
            node_kb: join(self.node_kb, other.node_kb),
            server_kb: join(self.server_kb, other.server_kb),
            backend_kb: join(self.backend_kb, other.backend_kb),
            connections: join(self.connections, other.connections),
        }
    }

    fn lines(self) -> [(&'static str, u64, u64); 4] {
        [
            ("node, largest (kB)", self.node_kb, SLACK_KB),
            ("server, all (kB)", self.server_kb, 4 * SLACK_KB),
            ("backend, largest (kB)", self.backend_kb, SLACK_KB),
            ("connections", self.connections, SLACK_CONNECTIONS),
        ]
    }
}

impl Usage {
    /// What is not as it was.
    pub(crate) fn grown(&self) -> Vec<Violation> {
        if self.quiets < QUIETS_MIN {
            return Vec::new();
        }
        let pairs = self.first.lines().into_iter().zip(self.last.lines());
        let grown =
            pairs.filter(|((_, first, slack), (_, last, _))| *last as f64 > *first as f64 * GROWTH_MAX + *slack as f64);
        grown
            .map(|((what, first, _), (_, last, _))| {
                Violation::new(Rule::Flat, format!("{what}: {first}, at the end {last}"))
            })
            .collect()
    }

    pub(crate) fn print(&self) {
        println!("\n{:<28} {:>10} {:>10} {:>10}", "resources", "start", "peak", "end");
        let (first, peak, last) = (self.first.lines(), self.peak.lines(), self.last.lines());
        for ((what, first, _), ((_, peak, _), (_, last, _))) in first.into_iter().zip(peak.into_iter().zip(last)) {
            println!("{what:<28} {first:>10} {peak:>10} {last:>10}");
        }
        println!(
            "(start and end: the first and the last moment of quiet; the end may be {GROWTH_MAX} times the start, and slack)"
        );
    }

    pub(crate) fn json(&self) -> Value {
        let of = |sample: Sample| {
            json!({"node_kb": sample.node_kb, "server_kb": sample.server_kb,
            "backend_kb": sample.backend_kb, "connections": sample.connections})
        };
        json!({"start": of(self.first), "peak": of(self.peak), "end": of(self.last)})
    }
}

/// A line of a process's status, in kB.
fn status(pid: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|of| of.strip_prefix(line))?;
    value.split_whitespace().next()?.parse().ok()
}
