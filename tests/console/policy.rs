//! The other tests assert that the browser has logged nothing: it logs what they rule out.

use crate::site::{Panel, Site};
use crate::support::browser::Browser;
use crate::support::poll::poll;

#[test]
fn violations_errors_and_requests_to_other_origins_are_logged() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let (site, other) = (Site::start(Panel::calm().aggregator()), Site::start(Panel::calm().aggregator()));
    site.open(&browser, "/#minute");
    site.assert_clean(&browser);
    let style = "document.body.append(Object.assign(document.createElement('style'), {textContent: 'p {}'}))";
    let image = "document.body.append(Object.assign(document.createElement('img'), {src: '/image'}))";
    let request = format!("void fetch('{}').catch(() => {{}})", other.url("/"));
    let thrown = "setTimeout(() => { throw new Error('on purpose'); })";
    let printed = "console.info('on purpose')";
    for (number, expression) in [style, image, &request, thrown, printed].into_iter().enumerate() {
        browser.evaluate(expression);
        poll(expression, || (browser.messages().len() > number).then_some(()));
    }
    let origins: Vec<String> = browser.messages().into_iter().map(|message| message.origin).collect();
    assert_eq!(origins, ["security", "security", "security", "javascript", "console-api"]);
    browser.open(&format!("data:text/html,<img src={}>", other.url("/image")));
    assert!(browser.requests().contains(&other.url("/image")));
}
