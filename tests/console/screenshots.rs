//! Pictures of the console of a running broker. `.ci/screenshots` starts it and runs this.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::support::browser::Browser;

/// Two cycles of the broker's faults.
const DEADLINE: Duration = Duration::from_secs(240);

const IS_ALARMED: &str = "document.body.dataset.state === 'live'
    && document.querySelector('#alerts [data-state=firing][data-severity=critical]')
    && document.querySelector('#alerts [data-state=pending]')
    && document.querySelector('#problems [data-source]')
    && document.querySelector('path.gap[d^=M]')";

#[test]
#[ignore = "run by .ci/screenshots"]
fn take_screenshots() {
    let url = env::var("PARSEC_CONSOLE").expect("PARSEC_CONSOLE has the address of a console: run .ci/screenshots");
    let Some(browser) = Browser::start() else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join("target/screenshots");
    fs::create_dir_all(&directory).expect("created");
    browser.open(&url);
    let start = Instant::now();
    let is_alarmed = || browser.evaluate(&format!("!!({IS_ALARMED})")) == true;
    let picture = loop {
        if is_alarmed() {
            let picture = take(&browser, 1280, "light", false);
            if is_alarmed() {
                break picture;
            }
        }
        let text = browser.evaluate("document.body.innerText");
        assert!(start.elapsed() < DEADLINE, "no critical, no pending alert or no stale source at once: {text}");
        thread::sleep(Duration::from_millis(100));
    };
    fs::write(root.join("docs/console.png"), picture).expect("written");
    for width in [320, 768, 1440] {
        for (name, scheme, forced) in [("light", "light", false), ("dark", "dark", false), ("forced", "dark", true)] {
            let file = directory.join(format!("{width}-{name}.png"));
            fs::write(file, take(&browser, width, scheme, forced)).expect("written");
        }
    }
}

/// Returns a PNG file of the whole page.
fn take(browser: &Browser, width: u32, scheme: &str, forced_colors: bool) -> Vec<u8> {
    let forced_colors = if forced_colors { "active" } else { "none" };
    browser.set_media(&[("prefers-color-scheme", scheme), ("forced-colors", forced_colors)]);
    browser.resize(width, 900);
    // The charts are drawn anew for their size.
    browser.execute_async("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", &[]);
    let height = browser.evaluate("document.documentElement.scrollHeight").as_u64().expect("a number");
    browser.resize(width, height.try_into().expect("a small number"));
    browser.execute_async("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", &[]);
    let picture = browser.devtools("Page.captureScreenshot", &json!({"format": "png"}));
    BASE64_STANDARD.decode(picture["data"].as_str().expect("text")).expect("base64")
}
