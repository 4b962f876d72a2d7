//! Runs calm, control and rough one after the other on one cluster.

use std::time::Duration;

use cache_sync_cluster::{Cluster, Options};
use cache_sync_kit::{Result, write_json};

use crate::arguments::Arguments;
use crate::report::{self, RunReport};
use crate::run::{BOUND, Plan, Run};

/// How much longer than the bound the control runs: a deaf node's entries must have the time to grow too old.
const CONTROL_BEYOND_BOUND: Duration = Duration::from_secs(3);

/// Runs the demo; true when every check holds.
pub(crate) async fn main(args: &[String]) -> Result<bool> {
    let arguments = Arguments::parse(args)?;
    println!("There is a page to look at, too: cargo xtask demo --web");
    println!("Starting a throw-away cluster with the library preloaded.");
    let cluster = tokio::task::block_in_place(|| {
        Options::default().setting("shared_buffers", "256MB").setting("max_wal_size", "2GB").start()
    })?;
    let calm = Plan { name: "calm", seconds: arguments.seconds, trouble: false, deaf: false };
    let control =
        Plan { name: "control", seconds: (BOUND + CONTROL_BEYOND_BOUND).as_secs(), trouble: false, deaf: true };
    let rough = Plan { name: "rough", seconds: arguments.seconds, trouble: true, deaf: false };

    let mut reports = Vec::new();
    for plan in [calm, control, rough] {
        reports.push(one(&cluster, &arguments, plan).await?);
    }
    report::print(&reports);
    if let Some(file) = &arguments.json {
        write_json(file, &report::json(&reports))?;
    }
    if arguments.keep {
        look_around(&cluster)?;
    }
    Ok(reports.iter().all(RunReport::holds))
}

async fn one(cluster: &Cluster, arguments: &Arguments, plan: Plan) -> Result<RunReport> {
    println!("\n==== {} ====", plan.name);
    let run = Run::new(cluster, arguments, plan)?;
    let report = run
        .run()
        .await
        .map_err(|error| format!("{}: {error}\nthe end of the server's log:\n{}", plan.name, cluster.log_tail()))?;
    report::print_checks(&report);
    Ok(report)
}

fn look_around(cluster: &Cluster) -> Result<()> {
    let dir = cluster.keep()?.display();
    let bin = cluster.tree().bin.display();
    println!("\nThe cluster stays up. To look around:");
    for database in ["calm", "rough"] {
        println!("  {bin}/psql -h {dir} -p {} -U postgres {database}", cluster.port());
    }
    println!(
        "  SELECT * FROM cache_sync.tables;  SELECT * FROM cache_sync.changes();  SELECT * FROM cache_sync.status();"
    );
    println!("Its log is {dir}/log, what the processes wrote down is in {dir}/calm, {dir}/control and {dir}/rough.");
    println!("When you are done:");
    println!("  kill -QUIT $(head -n 1 {dir}/data/postmaster.pid); rm -r {dir}");
    Ok(())
}
