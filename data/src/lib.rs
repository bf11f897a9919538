//! What a network eats: datasets, decoding, preprocessing, augmentation, batches.
