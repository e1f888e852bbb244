//! One token, as a `Bearer` token (RFC 6750) or as the password of `Basic` (RFC 7617).
//!
//! Considered: tower-http's `ValidateRequestHeaderLayer` has both schemes, but is deprecated there, and compares
//! neither in constant time nor the scheme without regard to case.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// Fits into the smallest `max_header_bytes`.
const MAX_LENGTH: usize = 4096;

/// The token that every path except the probes requires.
#[derive(Clone)]
pub(super) struct AccessToken(String);

impl AccessToken {
    pub(super) fn new(token: String) -> Result<Self, InvalidToken> {
        // The characters of RFC 6750's `b64token`. That grammar allows `=` at the end only.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match token.bytes().enumerate().position(|(index, byte)| index >= MAX_LENGTH || !is_allowed(byte)) {
            None if token.is_empty() => Err(InvalidToken { position: None }),
            None => Ok(Self(token)),
            position => Err(InvalidToken { position }),
        }
    }

    /// Returns whether the only `Authorization` header has this token, with any user name.
    ///
    /// Compares in constant time. The time may depend on the token's length.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let value = value.as_bytes();
        let scheme_end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, credentials) = value.split_at(scheme_end);
        // RFC 9110, 11.4: one space or more.
        let credentials = credentials.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"Bearer") {
            return self.is_equal(credentials);
        }
        if !scheme.eq_ignore_ascii_case(b"Basic") {
            return false;
        }
        let decoded = BASE64_STANDARD.decode(credentials).unwrap_or_default();
        // A user name contains no colon.
        let password = decoded.splitn(2, |byte| *byte == b':').nth(1);
        password.is_some_and(|password| self.is_equal(password))
    }

    fn is_equal(&self, token: &[u8]) -> bool {
        token.ct_eq(self.0.as_bytes()).into()
    }
}

/// Does not print the token.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

/// A bearer token that cannot be sent in a header. The error does not contain the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken {
    /// The index of the first byte that is not allowed or beyond the maximum length; `None` if the token is empty.
    position: Option<usize>,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            None => f.write_str("the bearer token is empty")?,
            Some(MAX_LENGTH) => return write!(f, "the bearer token is too long: use at most {MAX_LENGTH} bytes"),
            Some(position) => write!(f, "byte {} of the bearer token cannot be sent in a header", position + 1)?,
        }
        f.write_str(": use letters, digits and - . _ ~ + / =")
    }
}

impl Error for InvalidToken {}
