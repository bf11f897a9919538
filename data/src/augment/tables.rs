//! Changes that give each value of a channel another one: posterise, solarise, autocontrast, equalise, with PIL's arithmetic.

use attar_pixels::Image;

/// Only the highest `bits` of every value stay.
pub(super) fn posterise(image: Image, bits: u32) -> Image {
    let mask = u8::MAX.checked_shl(8 - bits.min(8)).unwrap_or(0);
    image.map_pixels(|pixels| pixels.iter_mut().for_each(|value| *value &= mask))
}

/// Values from `threshold` up are inverted.
pub(super) fn solarise(image: Image, threshold: f64) -> Image {
    let solar = |value: u8| if f64::from(value) < threshold { value } else { 255 - value };
    image.map_pixels(|pixels| pixels.iter_mut().for_each(|value| *value = solar(*value)))
}

/// Every channel stretched from its least and greatest value to 0 and 255.
pub(super) fn autocontrast(image: Image) -> Image {
    channel_by_channel(image, |counts| {
        let seen = |value: &usize| counts[*value] > 0;
        let (least, most) = ((0..256).find(seen)?, (0..256).rfind(seen)?);
        let scale = 255.0 / most.checked_sub(least).filter(|span| *span > 0)? as f64;
        let offset = -(least as f64) * scale;
        Some(std::array::from_fn(|value| (value as f64 * scale + offset) as u8))
    })
}

/// Every channel's values spread so that each range holds about as many pixels.
pub(super) fn equalise(image: Image) -> Image {
    channel_by_channel(image, |counts| {
        let last = counts.iter().rfind(|count| **count > 0)?;
        let step = (counts.iter().sum::<u64>() - last) / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(counts.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        }))
    })
}

/// Maps each channel by the table that `make` gives for how often each value occurs in it; as it is without one.
fn channel_by_channel(image: Image, make: impl Fn([u64; 256]) -> Option<[u8; 256]>) -> Image {
    let channels = usize::from(image.channels());
    image.map_pixels(|pixels| {
        for channel in 0..channels {
            let mut counts = [0; 256];
            pixels.iter().skip(channel).step_by(channels).for_each(|value| counts[usize::from(*value)] += 1);
            if let Some(table) = make(counts) {
                let values = pixels.iter_mut().skip(channel).step_by(channels);
                values.for_each(|value| *value = table[usize::from(*value)]);
            }
        }
    })
}
