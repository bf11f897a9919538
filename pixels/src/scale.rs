//! Whether mean and standard deviation are on the scale of the pixels that they are for, 0 to 1.

/// A mean beyond these is none of pixels in 0..1; a little room for those who write other
/// arithmetic as a mean.
const MEANS: std::ops::RangeInclusive<f32> = -1.0..=1.5;
/// A larger deviation would leave values that hardly differ; 1 means no scaling.
const MOST_STD: f32 = 3.0;
/// Values that no network is trained on. With a mean of 0 and a deviation of 1/255 they go to 255.
const MOST_VALUE: f32 = 300.0;

/// What is wrong with a mean and a standard deviation for each channel, and the number to write.
pub(crate) fn problem(mean: &[f32], std: &[f32]) -> Option<String> {
    let fault = mean.iter().zip(std).find_map(|(mean, std)| of_channel(*mean, *std));
    let of_bytes = |values: &[f32]| values.iter().any(|value| value.abs() > MOST_STD);
    fault.map(|fault| match of_bytes(mean) || of_bytes(std) {
        true => format!(
            "{}: it is for pixels of 0 to 255, but they are scaled to 0 to 1 first\n  hint: divide both by 255: mean = {}, std = {}",
            fault.split('\n').next().unwrap_or_default(),
            divided(mean),
            divided(std)
        ),
        false => fault,
    })
}

fn of_channel(mean: f32, std: f32) -> Option<String> {
    if !mean.is_finite() || !std.is_finite() || std < 0.0 {
        return Some("mean must be finite, std finite and positive".to_owned());
    }
    if std == 0.0 {
        return Some("a std of 0, expected a positive one: pixels would be divided by it\n  hint: write 1.0 for pixels as they are".to_owned());
    }
    if !MEANS.contains(&mean) {
        return Some(format!("a mean of {mean}, expected one of pixels of 0 to 1"));
    }
    if std > MOST_STD {
        return Some(format!("a std of {std}, expected one of pixels of 0 to 1"));
    }
    let (black, white) = (-mean / std, (1.0 - mean) / std);
    (black.abs().max(white.abs()) > MOST_VALUE).then(|| {
        format!(
            "with a mean of {mean} and a std of {std} pixels become {black:.0} to {white:.0}, as no network is fed\n  hint: for pixels of 0 to 1 they are about 0.45 and 0.25"
        )
    })
}

/// The values on the scale of 0 to 1, rounded as people write them. What is on it already stays.
fn divided(values: &[f32]) -> String {
    let one = |value: &f32| {
        let value = if value.abs() > MOST_STD { f64::from(*value) / 255.0 } else { f64::from(*value) };
        format!("{}", (value * 1e4).round() / 1e4)
    };
    format!("[{}]", values.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn usual_scales_pass() {
        for (mean, std) in [
            (0.0, 1.0),
            (0.5, 0.5),
            (0.498, 0.502), // EfficientNet-Lite: (x - 127) / 128
            (0.485, 0.229),
            (0.485, 1.0 / 255.0), // Caffe: bytes without their mean
            (0.0, 1.0 / 255.0),   // bytes as they are
            (0.1307, 0.3081),
        ] {
            assert_eq!(problem(&[mean; 3], &[std; 3]), None, "{mean} {std}");
        }
    }

    #[test]
    fn other_scales_are_refused_with_the_number_to_write() {
        let said = |mean: &[f32], std: &[f32]| problem(mean, std).unwrap();
        let message = said(&[123.675, 116.28, 103.53], &[58.395, 57.12, 57.375]);
        assert!(message.contains("mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]"), "{message}");
        assert!(said(&[0.485], &[58.395]).contains("std = [0.229]"));
        assert!(said(&[127.5], &[0.5]).contains("mean = [0.5], std = [0.5]"));
        let both = said(&[0.2, 0.3], &[1e-3, 57.0]);
        assert!(both.matches("hint:").count() == 1 && both.contains("0.2235"), "{both}");
        assert!(said(&[0.5], &[0.0]).contains("positive"));
        assert!(said(&[f32::NAN], &[1.0]).contains("finite"));
        assert!(said(&[0.5], &[-1.0]).contains("positive"));
        assert!(said(&[0.5], &[0.5 / 255.0 / 255.0]).contains("as no network is fed"));
        assert!(said(&[2.0], &[0.2]).contains("a mean of 2"));
    }
}
