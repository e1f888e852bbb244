//! Bearer tokens (RFC 6750).
//!
//! Considered: tower-http's `ValidateRequestHeaderLayer::bearer` is deprecated, and compares neither in constant time
//! nor the scheme without regard to case.

use std::error::Error;
use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// Fits into the smallest `max_header_bytes`.
const MAX_LENGTH: usize = 4096;

/// The token that every path except the probes requires.
#[derive(Clone)]
pub(super) struct BearerToken(String);

impl BearerToken {
    pub(super) fn new(token: String) -> Result<Self, InvalidToken> {
        // The characters of RFC 6750's `b64token`. That grammar allows `=` at the end only.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match token.bytes().enumerate().position(|(index, byte)| index >= MAX_LENGTH || !is_allowed(byte)) {
            None if token.is_empty() => Err(InvalidToken { position: None }),
            None => Ok(Self(token)),
            position => Err(InvalidToken { position }),
        }
    }

    /// Returns whether the only `Authorization` header has this token.
    ///
    /// Compares in constant time. The time may depend on the token's length.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, token)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
            return false;
        };
        // RFC 9110, 11.4: one space or more.
        let token = token.trim_ascii_start();
        scheme.eq_ignore_ascii_case(b"Bearer ") && token.ct_eq(self.0.as_bytes()).into()
    }
}

/// Does not print the token.
impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
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
