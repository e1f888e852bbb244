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
    let thrown = "setTimeout(() => { throw new Error('thrown'); })";
    let printed = "console.info('printed')";
    for (expression, text) in
        [(style, "style-src"), (image, "img-src"), (&request, "connect-src"), (thrown, "thrown"), (printed, "printed")]
    {
        browser.evaluate(expression);
        poll(text, || browser.messages().iter().any(|message| message.text.contains(text)).then_some(()));
    }
    browser.open(&format!("data:text/html,<img src={}>", other.url("/image")));
    assert!(browser.requests().contains(&other.url("/image")));
}
