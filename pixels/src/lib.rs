//! What an image is: pixels, resizing, preprocessing; decoding behind the feature `decode`.
//!
//! [`preprocess()`] turns an [`Image`], or an [`ImageView`] of somebody's pixels, into the
//! network's input as a [`Preprocessing`] says. It is the one implementation that training, export
//! and devices share. Nothing here knows a data set or a network.

#[cfg(feature = "decode")]
mod decode;
mod error;
mod image;
mod preprocess;
mod preprocessing;
mod resize;
mod scale;
#[cfg(feature = "schema")]
mod schema;
mod size;
mod view;

#[cfg(feature = "decode")]
pub use decode::{check_whole, decode};
pub use error::{Error, Result};
pub use image::{Image, MAX_PIXELS, luma};
pub use preprocess::{clamp, comes_out, normalise, preprocess, preprocess_image, preprocessed_size, shown_part};
pub use preprocessing::{Interpolation, Preprocessing, Resize, ResizeTo};
pub use resize::{resize, resize_by_boxes};
#[cfg(feature = "schema")]
pub use schema::Pair;
pub use size::pair;
pub use view::ImageView;
