//! The flags.

use std::net::{Ipv4Addr, SocketAddr};

use lexopt::{Arg, Parser, ValueExt};

use crate::grammar::Grammar;
use crate::limits;

pub(crate) const HELP: &str = "\
A small pub/sub broker over HTTP that shows its telemetry page.

Usage: cargo run --release --example broker -- [FLAGS]

  --listen ADDRESS   IP address and port; port 0 takes a free one   [127.0.0.1:8080]
  --pattern GLOB     which channels there may be; may be repeated   [public:* private:* agents:*]
  --channels N       channels at once                               [1000]
  --history N        messages that each channel keeps for replay    [100]
  --cache N          tokens that the look-up cache holds            [64]
  --page-token TEXT  who reads the pages sends it as Authorization: Bearer TEXT    [none]
  --quiet            no built-in clients: nothing moves but what you send
  --help             this page

Ctrl-C or SIGTERM drains it and ends it; another one does not wait for the drain.
";

pub(crate) enum Command {
    Run(Options),
    Help,
}

pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) grammar: Grammar,
    pub(crate) channels: usize,
    pub(crate) history: usize,
    pub(crate) cache: usize,
    pub(crate) page_token: Option<String>,
    pub(crate) quiet: bool,
}

pub(crate) fn parse() -> Result<Command, lexopt::Error> {
    let mut listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let mut patterns = Vec::new();
    let mut page_token = None;
    let (mut channels, mut history, mut cache, mut quiet) = (1_000, 100, 64, false);

    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("listen") => {
                let text = args.value()?.string()?;
                listen = text.parse().map_err(|_| {
                    format!("--listen {text}: not an IP address and a port, such as 127.0.0.1:8080")
                })?;
            }
            Arg::Long("pattern") => patterns.push(args.value()?.string()?),
            Arg::Long("channels") => channels = number(&mut args, "--channels", 1, 100_000)?,
            Arg::Long("history") => {
                history = number(&mut args, "--history", 0, limits::HISTORY_MESSAGES)?;
            }
            Arg::Long("cache") => cache = number(&mut args, "--cache", 1, limits::TOKENS)?,
            Arg::Long("page-token") => page_token = Some(args.value()?.string()?),
            Arg::Long("quiet") => quiet = true,
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    if patterns.is_empty() {
        patterns = ["public:*", "private:*", "agents:*"]
            .map(String::from)
            .into();
    }
    Ok(Command::Run(Options {
        listen,
        grammar: Grammar::new(patterns)?,
        channels,
        history,
        cache,
        page_token,
        quiet,
    }))
}

fn number(
    args: &mut Parser,
    flag: &str,
    least: usize,
    most: usize,
) -> Result<usize, lexopt::Error> {
    let text = args.value()?.string()?;
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{flag} {text}: not a whole number from {least} to {most}").into()),
    }
}
