//! The fingerprint of a data set: which pixels and labels, in which order, whatever files they came from.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::error::Result;

/// sha256 over every image's label (u32, little endian) and [`Image::sha256`](attar_pixels::Image::sha256), in order. Images whose
/// hashes no scan has kept are decoded.
///
/// # Errors
/// When an image cannot be read.
pub fn fingerprint(dataset: &dyn Dataset) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for (index, pixels) in pixel_hashes(dataset)?.into_iter().enumerate() {
        hash.update(dataset.label(index).to_le_bytes());
        hash.update(pixels);
    }
    Ok(hash.finalize().into())
}

/// [`Image::sha256`](attar_pixels::Image::sha256) of every image, in order, decoded in parallel where no scan has kept it.
///
/// # Errors
/// When an image cannot be read.
pub fn pixel_hashes(dataset: &dyn Dataset) -> Result<Vec<[u8; 32]>> {
    (0..dataset.len()).into_par_iter().map(|index| dataset.sha256(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InMemory;

    fn set(pixels: &[u8], labels: &[u32], split: &str) -> InMemory {
        InMemory::new([1, 2], 1, pixels.to_vec(), labels.to_vec(), vec!["a".into(), "b".into()], split).unwrap()
    }

    #[test]
    fn pixels_labels_and_order_count_and_names_do_not() {
        let of = |pixels: &[u8], labels: &[u32], split| fingerprint(&set(pixels, labels, split)).unwrap();
        let base = of(&[1, 2, 3, 4], &[0, 1], "train");
        assert_eq!(base, of(&[1, 2, 3, 4], &[0, 1], "test"));
        assert_ne!(base, of(&[1, 2, 3, 5], &[0, 1], "train"));
        assert_ne!(base, of(&[1, 2, 3, 4], &[0, 0], "train"));
        assert_ne!(base, of(&[3, 4, 1, 2], &[1, 0], "train"));
        assert_ne!(base, of(&[1, 2], &[0], "train"));
    }
}
