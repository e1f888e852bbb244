//! How values appear in JSON, for serde's attributes.

#![expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes references to fields"
)]

use serde::Serializer;

/// Returns 0 for a float that is not finite, which the formats cannot represent.
pub(crate) fn finite_or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

pub(super) fn finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(finite_or_zero(*value))
}

pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

pub(super) fn is_zero_or_not_finite(value: &f64) -> bool {
    finite_or_zero(*value) == 0.0
}

pub(super) fn is_unknown(value: &Option<f64>) -> bool {
    !value.is_some_and(f64::is_finite)
}

/// Times as RFC 3339 in UTC, with up to nine fraction digits.
pub(super) mod rfc3339 {
    use std::borrow::Cow;
    use std::time::SystemTime;

    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Midnight of 1 January in the year 0, the earliest time that RFC 3339 can represent.
    const EARLIEST: Timestamp = Timestamp::constant(-62_167_219_200, 0);

    pub(in crate::snapshot) fn serialize<S: Serializer>(
        at: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&nearest(*at))
    }

    pub(in crate::snapshot) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let at: Timestamp = text.parse().map_err(|error| {
            D::Error::custom(format_args!(
                "{text:?} is not a time like 2026-01-01T00:00:00Z: {error}"
            ))
        })?;
        at.try_into().map_err(D::Error::custom)
    }

    /// Returns the nearest time that RFC 3339 can represent.
    fn nearest(at: SystemTime) -> Timestamp {
        let end = if at < SystemTime::UNIX_EPOCH {
            EARLIEST
        } else {
            Timestamp::MAX
        };
        Timestamp::try_from(at).unwrap_or(end).max(EARLIEST)
    }

    /// The same for an optional time.
    pub(in crate::snapshot) mod option {
        use std::time::SystemTime;

        use serde::{Deserialize, Deserializer, Serializer};

        pub(in crate::snapshot) fn serialize<S: Serializer>(
            at: &Option<SystemTime>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in crate::snapshot) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<SystemTime>, D::Error> {
            #[derive(Deserialize)]
            struct Time(#[serde(with = "super")] SystemTime);

            let time = Option::<Time>::deserialize(deserializer)?;
            Ok(time.map(|Time(at)| at))
        }
    }
}
