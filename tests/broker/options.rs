//! Command-line options.

use http::{Method, StatusCode};

use crate::http_client::entries;
use crate::process::{Broker, run};

#[tokio::test]
async fn pattern_option_limits_channel_names_and_labels_the_pages() {
    let patterns = ["team-*:chat.*", "lobby", "*.log"];
    let options = patterns.map(|pattern| ["--pattern", pattern]);
    let broker = Broker::start(&[&["--quiet"], options.as_flattened()].concat());
    let token = broker.issue_token(60).await;
    // The second is percent-encoded, as browsers do.
    for name in ["lobby", "team-7%3Achat.room", "team-:chat.", "a.log.log", ".log"] {
        broker.publish(&token, &format!("{name}/publish"), "hello").await;
    }
    for name in ["lobby2", "team-7:room", "xteam-7:chat.room", "a.logs", "public:x"] {
        let path = format!("/channels/{name}/publish");
        let response = broker.request(Method::POST, &path, Some(&token), "").await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{name}");
        let text = response.text();
        assert!(text.contains("team-*:chat.*, lobby, *.log"), "{text}");
    }
    let snapshot = broker.wait_until("5 channels", |s| s.channels.total_active == 5).await;
    assert_eq!(entries(&snapshot.channels.by_pattern), [("*.log", 2), ("lobby", 1), ("team-*:chat.*", 2)]);
}

#[test]
fn port_in_use_exits_with_1_and_a_message() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let (code, _, stderr) = run(&["--quiet", "--listen", &address]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
    assert!(stderr.contains("--listen 127.0.0.1:0"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn invalid_option_exits_with_2_and_a_message() {
    for (args, part) in [
        (&["--port", "80"][..], "'--port'"),
        (&["--listen", "localhost:8080"], "such as 127.0.0.1:8080"),
        (&["--listen"], "'--listen'"),
        (&["--history", "many"], "from 0 to 100000"),
        (&["--history", "-1"], "from 0 to 100000"),
        (&["--channels", "0"], "from 1 to"),
        (&["--cache", "0"], "from 1 to"),
        (&["--pattern", ""], "letters, digits"),
        (&["--pattern", "a b"], "letters, digits"),
        (&["--for", "301"], "from 0 to 300"),
        (&["--chaos=19"], "from 20 to 3600"),
        (&["--quiet=yes"], "'--quiet'"),
        (&["8080"], "8080"),
    ] {
        let (code, _, stderr) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert!(stderr.contains("--help"), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn help_lists_every_option() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for option in
        ["--listen", "--pattern", "--channels", "--history", "--cache", "--page-token", "--quiet", "--for", "--chaos"]
    {
        assert!(stdout.contains(option), "{stdout}");
    }
}
