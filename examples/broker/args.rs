//! Command-line options.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::limits;
use crate::patterns::Patterns;

pub(crate) const HELP: &str = "\
A small pub/sub broker over HTTP, with its telemetry pages.

Usage: cargo run --release --example broker -- [OPTIONS]

  --listen ADDRESS   IP address and port; port 0 picks a free one      [127.0.0.1:8080]
  --pattern GLOB     allowed channel names; may be repeated            [public:* private:* agents:*]
  --channels N       maximum number of channels                        [1000]
  --history N        messages that each channel keeps for replay       [100]
  --cache N          capacity of the token cache, in tokens            [64]
  --page-token TEXT  require Authorization: Bearer TEXT on the pages;
                     in a browser: any user, TEXT as the password      [none]
  --quiet            do not start the built-in clients
  --for SECONDS      longest delay before an alert fires or resolves   [300; 10 with --chaos]
  --chaos[=SECONDS]  cause faults, again after each SECONDS: a source
                     stalls, tokens are revoked, the token cache loses
                     its tokens. A third of SECONDS counts as the hour
                     of the cache section                              [120]
  --help             print this help

Ctrl-C or SIGTERM shuts the broker down gracefully; a second signal ends it at once.
";

pub(crate) enum Command {
    Run(Options),
    Help,
}

pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) patterns: Patterns,
    pub(crate) max_channels: usize,
    pub(crate) history: usize,
    pub(crate) cache: usize,
    pub(crate) page_token: Option<String>,
    pub(crate) quiet: bool,
    pub(crate) max_alert_delay: Duration,
    /// Length of a cycle of faults.
    pub(crate) chaos: Option<Duration>,
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let mut listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let mut patterns = Vec::new();
    let mut page_token = None;
    let (mut max_alert_delay, mut chaos) = (None, None);
    let (mut max_channels, mut history, mut cache, mut quiet) = (1_000, 100, 64, false);

    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("listen") => {
                let text = args.value()?.string()?;
                listen = text.parse().map_err(|_| {
                    format!("invalid --listen {text}: use an IP address and a port, such as 127.0.0.1:8080")
                })?;
            }
            Arg::Long("pattern") => patterns.push(args.value()?.string()?),
            Arg::Long("channels") => max_channels = number(args.value()?, "--channels", 1, 100_000)?,
            Arg::Long("history") => history = number(args.value()?, "--history", 0, limits::MAX_HISTORY_MESSAGES)?,
            Arg::Long("cache") => cache = number(args.value()?, "--cache", 1, limits::MAX_TOKENS)?,
            Arg::Long("page-token") => page_token = Some(args.value()?.string()?),
            Arg::Long("quiet") => quiet = true,
            Arg::Long("for") => max_alert_delay = Some(number(args.value()?, "--for", 0, 300)?),
            Arg::Long("chaos") => {
                let cycle = args.optional_value().unwrap_or_else(|| "120".into());
                // A source is stale after 5 s. In a cycle of 20 s, it stalls for 6.7 s.
                chaos = Some(number(cycle, "--chaos", 20, 3600)?);
            }
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    if patterns.is_empty() {
        patterns = ["public:*", "private:*", "agents:*"].map(String::from).into();
    }
    let seconds = |seconds| Duration::from_secs(seconds as u64);
    Ok(Command::Run(Options {
        listen,
        patterns: Patterns::new(patterns)?,
        max_channels,
        history,
        cache,
        page_token,
        quiet,
        max_alert_delay: seconds(max_alert_delay.unwrap_or(if chaos.is_some() { 10 } else { 300 })),
        chaos: chaos.map(seconds),
    }))
}

fn number(value: OsString, option: &str, min: usize, max: usize) -> Result<usize, lexopt::Error> {
    let text = value.string()?;
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("invalid {option} {text}: use a whole number from {min} to {max}").into()),
    }
}
