//! A number that JSON keeps bit for bit.

use serde::{Deserialize, Serialize};

/// An `f64` that survives JSON bit for bit, as a decimal string (a JSON reader may round a number in its last bit).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "String", try_from = "String")]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct Exact(pub f64);

impl From<Exact> for String {
    fn from(value: Exact) -> Self {
        format!("{:?}", value.0)
    }
}

impl TryFrom<String> for Exact {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_json_bit_for_bit() {
        for bits in [0x3FB9_9999_9999_999A_u64, 0x0000_0000_0000_0001, 0x7FEF_FFFF_FFFF_FFFF, 0x3CA0_0000_0000_0001] {
            let value = Exact(f64::from_bits(bits));
            let back: Exact = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
            assert_eq!(back.0.to_bits(), bits);
        }
    }
}
