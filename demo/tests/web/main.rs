//! The page, looked at and used in a real browser. What it looks like is left in `target/screenshots`.
//!
//! ```text
//! demo   the program       browser  Chromium       http  requests       lost  a node that fails
//! ```

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

mod browser;
mod demo;
mod http;
mod lost;

use std::path::PathBuf;
use std::time::Duration;

use browser::{Browser, ENTER};
use cache_sync_cluster::target_dir;
use cache_sync_kit::{Result, wait};
use demo::Demo;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
const SHORT_PAUSE: Duration = Duration::from_millis(10);
const TRIES_MAX: usize = 10;

/// Waits until a script says true.
fn until(browser: &Browser, what: &str, script: &str) {
    let holds = || Ok(browser.script(script)? == Value::Bool(true));
    if !wait::until_blocking(PATIENCE, PAUSE, holds).unwrap() {
        panic!("{what} did not come: {script}\n{}", browser.text("main").unwrap());
    }
}

fn answered(browser: &Browser, place: &str, answer: &str) {
    let said = format!("return document.querySelector('{place}').textContent === {}", Value::from(answer));
    until(browser, "the answer", &said);
}

fn picture(browser: &Browser, name: &str) {
    let dir: PathBuf = target_dir().join("screenshots");
    std::fs::create_dir_all(&dir).unwrap();
    browser.picture(&dir.join(format!("{name}.png"))).unwrap();
}

/// A number that the table of figures shows: by its row and side.
fn figure(row: usize, side: usize) -> String {
    let cell = format!("document.querySelector('#now tbody').rows[{row}].cells[{}]", side + 1);
    format!("Number({cell}.firstChild.textContent.replace(/[^0-9.]/g, ''))")
}

#[test]
fn the_page_shows_what_happens_and_does_what_it_offers() {
    let demo = Demo::start();
    let browser = Browser::start().unwrap();
    browser.resize(1280, 900, false).unwrap();
    browser.open(&demo.url).unwrap();
    until(&browser, "a state", "return document.querySelector('#status').textContent.startsWith('Running for')");

    values_move(&browser);
    picture(&browser, "calm-light");
    rows_follow(&browser);
    refused_statements_are_told(&browser);
    everything_is_repaired(&browser);
    a_lost_node_is_started_again(&browser, &demo);
    the_calculator_answers(&browser);
    longer_kept_is_older(&browser);
    other_looks(&browser);
    requests_of_others_are_refused(&demo);
    let asked =
        browser.script("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)");
    let origins: Vec<String> = serde_json::from_value(asked.unwrap()).unwrap();
    assert!(origins.len() > 3 && origins.iter().all(|origin| *origin == demo.url), "{origins:?}");
    // Chromium itself writes down each request that was refused.
    let (refused, wrong): (Vec<_>, Vec<_>) =
        browser.console().unwrap().into_iter().partition(|line| line.contains("/sql") && line.contains("400"));
    assert!(wrong.is_empty() && refused.len() == REFUSED.len(), "{refused:#?} {wrong:#?}");
    drop(browser);
    slow_browsers_hold_nothing_up(&demo);
    demo.end();
}

fn values_move(browser: &Browser) {
    for side in 0..2 {
        until(browser, "reads", &format!("return {} > 50", figure(4, side)));
        let reads = browser.script("return document.querySelectorAll('#plots .values')[0].textContent").unwrap();
        until(
            browser,
            "other reads",
            &format!("return document.querySelectorAll('#plots .values')[0].textContent !== {reads}"),
        );
    }
    until(browser, "stale reads of Redis", &format!("return {} > 0", figure(0, 1)));
    until(browser, "statements", &format!("return {} > 0 && {} > 0", figure(2, 0), figure(2, 1)));
    until(browser, "the time until a commit is shown", &format!("return {} > 0 && {} > 0", figure(6, 0), figure(6, 1)));
    until(
        browser,
        "lines",
        "return [...document.querySelectorAll('#plots path.ours')].every(line => line.getAttribute('d').includes('L'))",
    );
    assert_eq!(browser.script("return document.querySelectorAll('#plots svg').length").unwrap(), 8);
    until(
        browser,
        "names of the pictures",
        "return [...document.querySelectorAll('#plots svg')].every(svg => svg.ariaLabel.includes('Redis'))",
    );
}

/// Whether a row of the shelf shows a text at Postgres and all four nodes, none of them older.
fn all_show(row: usize, text: &str) -> String {
    format!(
        "const cells = [...document.querySelectorAll('#rows tbody tr')[{row}].cells].slice(1);
         return cells.length === 5 && cells.every(cell => cell.firstChild.textContent === {} && cell.className !== 'behind')",
        Value::from(text)
    )
}

fn rows_follow(browser: &Browser) {
    // What Redis holds may expire just then, so that nobody is seen to be behind.
    let is_seen_behind = (1..=TRIES_MAX).any(|number| {
        let text = format!("rye bread {number}");
        browser.fill("#sql", &format!("UPDATE shelf SET text = '{text}' WHERE row = 1")).unwrap();
        browser.click("#sql-form button").unwrap();
        let shown = all_show(1, &text);
        let outcome = format!(
            "if (document.querySelectorAll('#rows tbody tr')[1].querySelector('td.behind') !== null) return 'behind';
             return (() => {{ {shown} }})() ? 'shown' : 'open'"
        );
        let mut last = Value::Null;
        let is_over = || {
            last = browser.script(&outcome)?;
            Ok(last != "open")
        };
        assert!(wait::until_blocking(PATIENCE, SHORT_PAUSE, is_over).unwrap(), "{}", browser.text("#rows").unwrap());
        until(browser, "the row by SQL", &shown);
        last == "behind"
    });
    assert!(is_seen_behind, "nobody was ever behind");
    answered(browser, "#rows-answer", "Postgres changed 1 row.");
    for (row, node) in [(2, "cache_sync node 2"), (3, "Redis node 1")] {
        browser.choose("#edit-row", &row.to_string()).unwrap();
        browser.choose("#edit-node", node).unwrap();
        let text = format!("through {node}");
        browser.fill("#edit-text", &text).unwrap();
        browser.keys("#edit-text", ENTER).unwrap();
        until(browser, "the row through a node", &all_show(row, &text));
        answered(browser, "#rows-answer", &format!("Written through {node}, and committed."));
    }
    let delays = "return [...document.querySelectorAll('#rows tbody tr')[1].cells].slice(2, 4)
                      .every(cell => /^after .* (ms|s)$/.test(cell.lastChild.textContent))";
    until(browser, "the time that it took", delays);
}

/// Statements, and what the page says to them.
const REFUSED: [(&str, &str); 4] = [
    ("DELETE FROM record", "Not done: only an UPDATE of shelf is run here"),
    ("UPDATE record SET counter = 0", "Not done: ERROR: permission denied for table record"),
    (
        "UPDATE shelf SET row = 1; SELECT 1",
        "Not done: ERROR: cannot insert multiple commands into a prepared statement",
    ),
    ("UPDATE shelf SET text = 'x' RETURNING 1", "Not done: the statement must return no rows"),
];

fn refused_statements_are_told(browser: &Browser) {
    for (sql, answer) in REFUSED {
        browser.fill("#sql", sql).unwrap();
        browser.click("#sql-form button").unwrap();
        answered(browser, "#rows-answer", answer);
    }
}

fn everything_is_repaired(browser: &Browser) {
    let actions = ["kill", "restart-postgres", "cut-feed", "hold-lock", "suspend"];
    for (done, action) in actions.into_iter().enumerate() {
        let button = format!("#buttons [data-action={action}]");
        until(browser, "the button", &format!("return !document.querySelector('{button}').disabled"));
        // The last one by the keyboard.
        if done + 1 == actions.len() { browser.keys(&button, ENTER) } else { browser.click(&button) }.unwrap();
        until(
            browser,
            "the event",
            &format!("return document.querySelectorAll('#timeline tbody tr[data-done]').length === {}", done + 1),
        );
        if action == "kill" {
            until(browser, "the loss", "return document.querySelector('#status').className === 'bad'");
            picture(browser, "during-kill");
        }
        until(browser, "the repair", "return document.querySelector('#timeline tbody tr').dataset.done === 'true'");
        let outcomes = browser
            .script("return [...document.querySelector('#timeline tbody tr').cells].map(cell => (cell.querySelector('b') ?? cell).textContent)")
            .unwrap();
        println!("{outcomes}");
        for outcome in [&outcomes[2], &outcomes[3]] {
            let outcome = outcome.as_str().unwrap();
            assert!(outcome == "not disturbed" || outcome.starts_with("served again after"), "{outcomes}");
        }
        assert!(!outcomes[1].as_str().unwrap().contains("went wrong"), "{outcomes}");
    }
    until(browser, "peace", "return document.querySelector('#status').className === ''");
    let beyond = browser.script(&format!("return {}", figure(1, 0))).unwrap();
    assert_eq!(beyond, 0, "cache_sync promises that nothing is older than the bound");
    picture(browser, "after-repair");
}

fn a_lost_node_is_started_again(browser: &Browser, demo: &Demo) {
    demo.lose_a_node();
    let what = "ended by itself (signal: 9 (SIGKILL)) and was started again";
    let rows = "document.querySelector('#timeline tbody tr')";
    until(browser, "the event", &format!("return {rows}.cells[1].textContent.endsWith({})", Value::from(what)));
    until(browser, "its end", &format!("return {rows}.dataset.done === 'true'"));
    until(browser, "peace", "return document.querySelector('#status').className === ''");
}

fn the_calculator_answers(browser: &Browser) {
    for (name, value) in [("reads", "1000"), ("writes", "0"), ("hit", "100"), ("nodes", "3")] {
        browser.fill(&format!("#costs-form [name={name}]"), value).unwrap();
    }
    until(
        browser,
        "costs",
        "return document.querySelectorAll('#costs dd')[0]?.firstChild.textContent === '1,000'
                                 && document.querySelectorAll('#costs dd')[1].firstChild.textContent === '0'",
    );
    assert!(browser.text("#costs-source").unwrap().contains("for each read that misses"));
    // Nothing is written, and all is in memory.
    until(
        browser,
        "how busy Postgres is",
        "return /^Postgres is busy for0 sa second, without a cache for (0\\.\\d+|[1-9][\\d.]*) s$/
                        .test(document.querySelectorAll('#costs div')[4].textContent)",
    );
}

/// What is kept for longer than the bound is served beyond it, and that is counted.
fn longer_kept_is_older(browser: &Browser) {
    browser.choose("#ttl", "10 s").unwrap();
    until(browser, "reads beyond the bound", &format!("return {} > 0", figure(1, 1)));
    assert_eq!(browser.script(&format!("return {}", figure(1, 0))).unwrap(), 0);
    assert!(browser.text("#break-answer").unwrap().starts_with("Redis keeps rows"));
}

fn other_looks(browser: &Browser) {
    browser.prefer("dark").unwrap();
    picture(browser, "after-repair-dark");
    browser.resize(390, 844, true).unwrap();
    until(
        browser,
        "a page as wide as a phone",
        "return innerWidth === 390 && document.documentElement.scrollWidth <= innerWidth
             && [...document.querySelectorAll('.scroll')].every(part => part.scrollWidth <= part.clientWidth)",
    );
    picture(browser, "phone-dark");
    browser.prefer("light").unwrap();
    picture(browser, "phone-light");
}

fn requests_of_others_are_refused(demo: &Demo) {
    let own = demo.url.as_str();
    let kill = |origin| http::ask(demo.port, "POST", "/break/kill", &[("Origin", origin)], "{}").unwrap().status;
    assert_eq!(kill("http://evil.example"), 403);
    let status = |headers: &[_], method, path, body| http::ask(demo.port, method, path, headers, body).unwrap().status;
    assert_eq!(status(&[], "POST", "/sql", r#"{"sql": "UPDATE shelf SET text = 'x'"}"#), 403);
    assert_eq!(status(&[("Host", "evil.example")], "GET", "/", ""), 403);
    assert_eq!(status(&[("Origin", own)], "POST", "/break/everything", "{}"), 404);
    assert_eq!(status(&[("Origin", own)], "POST", "/edit", r#"{"node": 9, "row": 1, "text": ""}"#), 400);
    assert_eq!(status(&[("Origin", own)], "POST", "/edit", r#"{"node": 0, "row": 0, "text": ""}"#), 400);
    assert_eq!(status(&[("Origin", own)], "POST", "/time-to-live", r#"{"ms": 1}"#), 400);
    assert_eq!(status(&[("Origin", own)], "POST", "/sql", &"x".repeat(5000)), 413);
    let page = http::ask(demo.port, "GET", "/", &[], "").unwrap();
    assert!(page.status == 200 && page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
}

/// So many as may follow the page do so, and read nothing: others see it move.
fn slow_browsers_hold_nothing_up(demo: &Demo) {
    let slow: Vec<_> = (0..64).map(|_| http::begin(demo.port, "GET", "/live", &[], "").unwrap()).collect();
    let at = || {
        let points: Value =
            serde_json::from_str(&http::ask(demo.port, "GET", "/points", &[], "").unwrap().body).unwrap();
        points.as_array().unwrap().last().map_or(0.0, |point| point["at"].as_f64().unwrap())
    };
    let begun = at();
    assert!(wait::until_blocking(PATIENCE, PAUSE, || Ok(at() > begun + 3.0)).unwrap(), "the plots do not go on");
    let full = || -> Result<bool> { Ok(http::ask(demo.port, "GET", "/live", &[], "")?.status == 503) };
    assert!(full().unwrap(), "there is a limit to who may follow");
    // They go on taking nothing.
    let has_room = || -> Result<bool> {
        let mut stream = http::begin(demo.port, "GET", "/live", &[], "")?;
        let mut head = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut head)?;
        Ok(&head == b"HTTP/1.1 200")
    };
    assert!(wait::until_blocking(PATIENCE, PAUSE, has_room).unwrap(), "who takes nothing makes room");
    drop(slow);
}
