//! The host that a request names (RFC 9112, 3.2), and the hosts that a server on loopback answers.
//!
//! A web page can let its own name resolve to 127.0.0.1 (DNS rebinding), and would then read a server on loopback as
//! its own origin. The browser still sends that name as the host.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;
use http::{Request, Version};

pub(super) struct InvalidHost;

/// Returns the host that a request names, with its port. HTTP/1.0 requests may have none.
pub(super) fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, InvalidHost> {
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (Some(host), None) => Some(host.as_bytes().try_into().map_err(|_| InvalidHost)?),
        (None, _) if request.version() == Version::HTTP_10 => None,
        _ => return Err(InvalidHost),
    };
    // The target's authority takes precedence, but does not excuse an invalid header.
    let target = request.uri().authority().cloned();
    let is_valid = header.iter().chain(&target).all(is_valid);
    if is_valid { Ok(target.or(header)) } else { Err(InvalidHost) }
}

/// [`Authority`] also accepts user names, ports that are no numbers, and stray brackets.
fn is_valid(authority: &Authority) -> bool {
    let host = authority.host();
    let port = &authority.as_str()[host.len()..];
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(['[', ']']),
    };
    is_host && (port.is_empty() || port.starts_with(':') && port[1..].bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the valid ones of a list of hosts, in the form that [`is_allowed`] expects.
pub(super) fn allowed(hosts: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    let authorities = hosts.into_iter().filter_map(|host| Authority::try_from(host.into()).ok());
    authorities.filter(is_valid).map(|authority| name(&authority)).collect()
}

/// Returns whether a server on loopback answers a valid host: IP addresses, local names, and `allowed` ones.
pub(super) fn is_allowed(authority: &Authority, allowed: &[String]) -> bool {
    let name = name(authority);
    let is_address = name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
    is_address || name == "localhost" || name.ends_with(".localhost") || allowed.contains(&name)
}

/// The host without its port, in lower case, without the dot that ends a fully qualified name.
fn name(authority: &Authority) -> String {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}
