//! Numbers for serde's attributes.

#![expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes references to fields")]

use serde::Serializer;

/// Returns 0 for a float that is not finite, which JSON cannot represent.
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
