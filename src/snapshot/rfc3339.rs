//! Times as RFC 3339 in UTC with up to nine fraction digits, for serde's attributes.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Midnight of 1 January in the year 0, the earliest time that RFC 3339 can represent.
const EARLIEST: Timestamp = Timestamp::constant(-62_167_219_200, 0);

pub(crate) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&nearest(*at))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    let at: Timestamp = text
        .parse()
        .map_err(|error| D::Error::custom(format_args!("{text:?} is not a time like 2026-01-01T00:00:00Z: {error}")))?;
    at.try_into().map_err(D::Error::custom)
}

/// Returns the nearest time that RFC 3339 can represent.
fn nearest(at: SystemTime) -> Timestamp {
    let end = if at < SystemTime::UNIX_EPOCH { EARLIEST } else { Timestamp::MAX };
    Timestamp::try_from(at).unwrap_or(end).max(EARLIEST)
}

/// The same for times that may be absent.
pub(super) mod option {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::snapshot::rfc3339;

    #[expect(clippy::ref_option, reason = "serde passes references to fields")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => rfc3339::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        #[derive(Deserialize)]
        struct Time(#[serde(with = "rfc3339")] SystemTime);

        Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(at)| at))
    }
}
