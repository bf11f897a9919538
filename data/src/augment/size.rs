//! The size of a crop: read as a number or as `[height, width]`, written as a number where it is a square.

use attar_pixels::pair;
use serde::{Deserializer, Serialize, Serializer};

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<[u32; 2], D::Error> {
    let [height, width] = pair(from)?;
    let size = |size: usize| u32::try_from(size).map_err(|error| serde::de::Error::custom(format!("{size}: {error}")));
    Ok([size(height)?, size(width)?])
}

pub(super) fn write<S: Serializer>(size: &[u32; 2], to: S) -> Result<S::Ok, S::Error> {
    match size {
        [height, width] if height == width => to.serialize_u32(*height),
        size => size.serialize(to),
    }
}
