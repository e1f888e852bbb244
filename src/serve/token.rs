//! Who may read: a bearer token, and whether a request has it.

use std::error::Error;
use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// A token that every page but the probes asks for.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn new(token: String) -> Result<Self, InvalidToken> {
        // What the header's grammar takes; its end, any number of `=`, is not looked at apart.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match token.bytes().position(|byte| !fits(byte)) {
            None if token.is_empty() => Err(InvalidToken { place: None }),
            None => Ok(Self(token)),
            place => Err(InvalidToken { place }),
        }
    }

    /// Whether the request has it, once. The time that this takes does not tell how much of a wrong
    /// one is right; it does tell whether its length is.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let value = value.as_bytes();
        let Some((scheme, token)) = value.split_at_checked("Bearer ".len()) else {
            return false;
        };
        // RFC 6750: one space or more.
        let token = token.trim_ascii_start();
        scheme.eq_ignore_ascii_case(b"Bearer ") && token.ct_eq(self.0.as_bytes()).into()
    }
}

/// A token is nobody's to read.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A bearer token that cannot be sent in a header. It does not hold the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidToken {
    /// The first byte that does not fit; none where there is no byte at all.
    place: Option<usize>,
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FITS: &str = "use letters, digits and - . _ ~ + / =";
        match self.place {
            None => write!(f, "the bearer token is empty: {FITS}"),
            Some(place) => write!(
                f,
                "byte {} of the bearer token cannot be sent in a header: {FITS}",
                place + 1
            ),
        }
    }
}

impl Error for InvalidToken {}
