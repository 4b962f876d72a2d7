//! The dashboard shows what there is: Prometheus scrapes the example, and each expression of docs/grafana.json has a value.

#![allow(clippy::unwrap_used)]

use cache_sync::METRICS;
use cache_sync_cluster::{free_port, prometheus};
use cache_sync_tests::document::read;
use cache_sync_tests::{Database, wait_blocking};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Two scrapes, a second apart, and what it takes to start.
const SOON: Duration = Duration::from_secs(20);

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The service, and where it listens.
fn service(db: &Database<'_>) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metrics"));
    let mut service = Running(command.env("DATABASE_URL", db.dsn()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").expect("it says where it listens").to_owned();
    (service, address)
}

/// Prometheus, which scrapes it every second, and where it listens.
fn scraped(db: &Database<'_>, service: &str) -> (Running, String) {
    let program = prometheus().unwrap_or_else(|error| panic!("{error}"));
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let dir = db.cluster().socket_dir();
    let config = dir.join("prometheus.yml");
    let scrape = format!("{{job_name: cache_sync, static_configs: [{{targets: ['{service}']}}]}}");
    fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{scrape}]\n")).unwrap();
    let mut command = db.cluster().beside(&program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
    let prometheus = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let is_ready = || TcpStream::connect(&address).is_ok() && get(&address, "/-/ready").contains("is Ready");
    wait_blocking(SOON, || "Prometheus is ready".to_owned(), is_ready);
    (prometheus, address)
}

/// What an HTTP server answers.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What an expression says of the last seconds: its samples that are numbers.
fn samples(prometheus: &str, expression: &str) -> Result<Vec<f64>, String> {
    let expression = [("$__rate_interval", "5s"), ("$database", ".*"), ("$table", ".*")]
        .iter()
        .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value));
    assert!(!expression.contains('$'), "a variable that nobody sets: {expression}");
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer: Value = serde_json::from_str(&get(prometheus, &format!("/api/v1/query?query={encoded}"))).unwrap();
    if answer["status"] != "success" {
        return Err(format!("{expression}: {answer}"));
    }
    let result = answer["data"]["result"].as_array().unwrap();
    let values = result.iter().map(|series| series["value"][1].as_str().unwrap().parse::<f64>().unwrap());
    Ok(values.filter(|value| !value.is_nan()).collect())
}

/// The expressions of all panels.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    panels.flat_map(of_panel).collect()
}

#[test]
fn each_expression_of_the_dashboard_has_a_value() {
    let db = Database::with_extension();
    let (_service, service) = service(&db);
    let (_prometheus, prometheus) = scraped(&db, &service);
    let dashboard: Value = serde_json::from_str(&read("docs/grafana.json")).unwrap();
    let mut left = expressions(&dashboard);
    assert!(left.len() > 40, "{}", left.len());
    let is_empty =
        |expression: &String| samples(&prometheus, expression).unwrap_or_else(|why| panic!("{why}")).is_empty();
    let last = std::cell::RefCell::new(Vec::new());
    wait_blocking(
        SOON,
        || format!("these have a value: {:#?}\n{}", last.borrow(), get(&service, "/metrics")),
        || {
            left.retain(is_empty);
            last.replace(left.clone());
            left.is_empty()
        },
    );
}

#[test]
fn the_dashboard_shows_every_metric() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana.json")).unwrap();
    let expressions = expressions(&dashboard);
    let names = |name: &str| {
        let spelled = ["{", "_bucket{", "_sum{", "_count{"].map(|end| format!("{name}{end}"));
        expressions.iter().any(|expression| spelled.iter().any(|spelled| expression.contains(spelled)))
    };
    let forgotten: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(|name| !names(name)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}
