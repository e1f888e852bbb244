//! The alert rules.

use http::{Method, StatusCode};

use crate::http_client::is_firing;
use crate::process::Broker;

#[tokio::test]
async fn alert_fires_while_its_condition_holds() {
    let broker = Broker::start(&["--quiet", "--channels", "2", "--history", "2"]);
    assert!(broker.snapshot().await.alerts.is_empty());
    let events = broker.subscribe("public:x", "", None).await;
    broker.wait_until("no_publishes firing", |s| is_firing(s, "no_publishes")).await;

    let token = broker.issue_token(60).await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker.publish(&token, "public:x/publish", "hello").await;
    broker.wait_until("no_publishes inactive", |s| !is_firing(s, "no_publishes")).await;

    let second = broker.subscribe("public:y", "", None).await;
    broker.wait_until("too_many_channels firing", |s| is_firing(s, "too_many_channels")).await;
    let third = broker.request(Method::GET, "/channels/public:z/events", None, "").await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(third.text().contains("--channels"), "{}", third.text());
    drop((events, second));
    broker.wait_until("no_subscribers firing", |s| is_firing(s, "no_subscribers")).await;
    broker.wait_until("too_many_channels inactive", |s| !is_firing(s, "too_many_channels")).await;
}
