//! One sample's answer as bytes: log-probabilities in half precision, of the likeliest classes or of all.

use attar_measures::log_softmax;
use half::f16;

/// Bytes of a record: two of a log-probability for each class, and two of its number where not all are kept.
pub(super) fn size(classes: usize, top: usize) -> usize {
    if top < classes { 4 * top } else { 2 * classes }
}

/// Appends the record of one row of logits. Of equal ones the first class is the likelier.
pub(crate) fn encode(logits: &[f32], top: usize, into: &mut Vec<u8>) {
    let log = log_softmax(logits);
    let half = |value: f64| f16::from_f64(value).to_le_bytes();
    if top >= logits.len() {
        log.iter().for_each(|value| into.extend(half(*value)));
        return;
    }
    for class in attar_measures::top(&log, top, f64::total_cmp) {
        into.extend((class as u16).to_le_bytes());
        into.extend(half(log[class]));
    }
}

/// Log-probabilities of all classes from a record: logits as good as any. What the kept classes leave of the probability is
/// spread evenly over the others. `None` for a record that names a class that there is not.
pub(super) fn decode(record: &[u8], classes: usize, top: usize) -> Option<Vec<f32>> {
    let half = |bytes: &[u8]| Some(f16::from_le_bytes(bytes.try_into().ok()?).to_f32());
    if top >= classes {
        return record.chunks_exact(2).map(half).collect();
    }
    let kept = record.chunks_exact(4).map(|pair| {
        let (class, value) = pair.split_at(2);
        Some((usize::from(u16::from_le_bytes(class.try_into().ok()?)), half(value)?))
    });
    let kept = kept.collect::<Option<Vec<_>>>()?;
    let left = 1.0 - kept.iter().map(|(_, value)| f64::from(*value).exp()).sum::<f64>();
    // Rounding may leave nothing or less: then about what half precision can tell from nothing.
    let rest = (left.max(1e-7) / (classes - top) as f64).ln() as f32;
    let mut row = vec![rest; classes];
    for (class, value) in kept {
        *row.get_mut(class)? = value;
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(logits: &[f32], top: usize) -> Vec<f32> {
        let mut bytes = Vec::new();
        encode(logits, top, &mut bytes);
        assert_eq!(bytes.len(), size(logits.len(), top));
        decode(&bytes, logits.len(), top).unwrap()
    }

    #[test]
    fn all_classes_come_back_to_half_precision() {
        let logits = [3.0, -1.0, 0.5, 9.0];
        for (got, expected) in back(&logits, 4).iter().zip(log_softmax(&logits)) {
            assert!((f64::from(*got) - expected).abs() < 1e-3 * expected.abs().max(0.1), "{got} {expected}");
        }
    }

    #[test]
    fn what_the_likeliest_leave_is_spread_over_the_others() {
        let row = back(&[2.0, 0.0, 1.0, -1.0, -2.0], 2);
        let sum: f32 = row.iter().map(|value| value.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        assert!(row[0] > row[2] && row[2] > row[1]);
        assert_eq!((row[1], row[3]), (row[3], row[4]));
        assert!(back(&[100.0, 0.0, 0.0], 1).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_class_that_there_is_not_is_noticed() {
        assert!(decode(&[9, 0, 0, 0], 3, 1).is_none());
    }
}
