//! What an image is: pixels, a borrowed view of them, resizing and preprocessing; decoding behind a feature.
