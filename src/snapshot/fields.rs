//! Functions for serde's attributes.

#![expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes references to fields")]

use std::collections::BTreeMap;

use serde::{Serializer, ser::Error as _};

/// Where counts and sums saturate: clients in Go read 64-bit integers with a sign.
pub(crate) const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Why a format is refused.
pub(super) const NEEDS_KEYS: &str = "formats that are not human-readable may identify fields by position, which \
                                     omitted fields would shift: use JSON, or store its text";

/// Refuses formats that may store fields without their keys, such as those of `rmp-serde`, `bincode` and `postcard`.
fn keyed<S: Serializer>(serializer: S) -> Result<S, S::Error> {
    if serializer.is_human_readable() { Ok(serializer) } else { Err(S::Error::custom(NEEDS_KEYS)) }
}

pub(super) fn name<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    keyed(serializer)?.serialize_str(name)
}

pub(super) fn count<S: Serializer>(count: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    keyed(serializer)?.serialize_u64(MAX_COUNT.min(*count))
}

pub(super) fn counts<S: Serializer>(counts: &BTreeMap<String, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(key, &count)| (key, MAX_COUNT.min(count))))
}

/// Writes 0 for a float without a value, since JSON has no NaN.
pub(super) fn float<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    keyed(serializer)?.serialize_f64(known(*value).unwrap_or_default())
}

pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

pub(super) fn is_zero_or_not_finite(value: &f64) -> bool {
    known(*value).unwrap_or_default() == 0.0
}

pub(super) fn is_unknown(value: &Option<f64>) -> bool {
    value.and_then(known).is_none()
}

/// Returns a float that has a value. Unlike NaN, two without one are equal.
pub(super) fn known(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
