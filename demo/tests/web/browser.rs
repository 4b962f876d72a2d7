//! A browser that is driven: Chromium, by the WebDriver protocol.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_sync_cluster::{chromedriver, free_port};
use cache_sync_kit::{Result, wait};
use serde_json::{Value, json};

use crate::demo::ends_with_this_test;
use crate::http::ask;

const START_TIME_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// How WebDriver calls the member that names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub(crate) const ENTER: &str = "\u{e007}";

/// One window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

impl Browser {
    pub(crate) fn start() -> Result<Browser> {
        let port = free_port()?;
        let mut command = ends_with_this_test("TERM", chromedriver()?);
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut browser = Browser { driver: command.spawn()?, port, session: String::new() };
        let is_ready = || Ok(ask(port, "GET", "/status", &[], "").is_ok_and(|answer| answer.status == 200));
        if !wait::until_blocking(START_TIME_MAX, PAUSE, is_ready)? {
            return Err("chromedriver does not answer".into());
        }
        // Its sandbox needs rights that a container's root lacks; the only page that it shows is our own.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.request("POST", "/session", &wanted.to_string())?;
        browser.session = session["sessionId"].as_str().ok_or("a session without a name")?.to_owned();
        Ok(browser)
    }

    pub(crate) fn open(&self, url: &str) -> Result<()> {
        self.post("/url", &json!({ "url": url })).map(drop)
    }

    /// What a script returns.
    pub(crate) fn script(&self, script: &str) -> Result<Value> {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the first element of that kind; empty if there is none.
    pub(crate) fn text(&self, css: &str) -> Result<String> {
        let text = self.script(&format!("return document.querySelector({})?.textContent ?? ''", json!(css)))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn click(&self, css: &str) -> Result<()> {
        self.post(&format!("/element/{}/click", self.element(css)?), &json!({})).map(drop)
    }

    /// Presses keys while the element has the focus.
    pub(crate) fn keys(&self, css: &str, text: &str) -> Result<()> {
        self.post(&format!("/element/{}/value", self.element(css)?), &json!({ "text": text })).map(drop)
    }

    /// Replaces what is in a field.
    pub(crate) fn fill(&self, css: &str, text: &str) -> Result<()> {
        self.post(&format!("/element/{}/clear", self.element(css)?), &json!({}))?;
        self.keys(css, text)
    }

    /// Chooses from a list, by what it shows.
    pub(crate) fn choose(&self, css: &str, shown: &str) -> Result<()> {
        self.keys(css, shown)
    }

    /// How large its window is, in the units of style sheets.
    pub(crate) fn resize(&self, width: u32, height: u32, is_phone: bool) -> Result<()> {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).map(drop)
    }

    pub(crate) fn prefer(&self, scheme: &str) -> Result<()> {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Takes a picture of the whole page.
    pub(crate) fn picture(&self, file: &Path) -> Result<()> {
        let size = self.script("return [innerWidth, document.documentElement.scrollHeight]")?;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let taken = self.devtools("Page.captureScreenshot", &json!({"captureBeyondViewport": true, "clip": clip}))?;
        let picture = STANDARD.decode(taken["data"].as_str().ok_or("a picture without data")?)?;
        Ok(std::fs::write(file, picture)?)
    }

    /// What the page has written to the console since this was asked last: errors, warnings, violations of its policy.
    pub(crate) fn console(&self) -> Result<Vec<String>> {
        let lines = self.post("/se/log", &json!({"type": "browser"}))?;
        Ok(lines
            .as_array()
            .into_iter()
            .flatten()
            .map(|line| format!("{}: {}", line["level"], line["message"]))
            .collect())
    }

    fn element(&self, css: &str) -> Result<String> {
        let found = self.post("/element", &json!({"using": "css selector", "value": css}))?;
        Ok(found[ELEMENT].as_str().ok_or("an element without a name")?.to_owned())
    }

    fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.request("POST", &format!("/session/{}{path}", self.session), &body.to_string())
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let answer = ask(self.port, method, path, &[], body)?;
        let mut said: Value = serde_json::from_str(&answer.body)?;
        match answer.status {
            200 => Ok(said["value"].take()),
            status => Err(format!("{path}: {status}: {} {}", said["value"]["error"], said["value"]["message"]).into()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end ends Chromium, too; its driver is then only waited for.
        if let Err(error) = self.request("DELETE", &format!("/session/{}", self.session), "") {
            eprintln!("the browser does not end: {error}");
        }
        if let Err(error) = self.driver.kill().and_then(|()| self.driver.wait()) {
            eprintln!("cannot end chromedriver: {error}");
        }
    }
}
