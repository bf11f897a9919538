//! What can be wrong with a shape, said for people: what, expected, then a hint.

/// The result of this crate's checks.
pub type Result<T> = std::result::Result<T, ShapeError>;

/// A shape that no kernel can run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// An extent, kernel, stride, dilation or number of groups is zero.
    #[error("{what} is 0, expected at least 1")]
    Zero {
        /// Which extent.
        what: &'static str,
    },
    /// The groups do not divide the channels.
    #[error("{groups} groups do not divide {in_channels} input and {out_channels} output channels")]
    Groups {
        /// Number of groups.
        groups: usize,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
    },
    /// The window is larger than the padded input.
    #[error("a window spanning {span} does not fit an input of {size} padded by {padding} on both sides ({axis})")]
    Window {
        /// `height` or `width`.
        axis: &'static str,
        /// Extent of the window, dilation included.
        span: usize,
        /// Extent of the input.
        size: usize,
        /// Padding on each side.
        padding: usize,
    },
    /// A pooling window could lie in the padding alone.
    #[error(
        "pooling pads {padding}, as much as its window of {kernel} or more\n  hint: a window must see some of the image"
    )]
    PoolPadding {
        /// Padding on a side.
        padding: usize,
        /// Extent of the window.
        kernel: usize,
    },
    /// Batch statistics need at least two values per channel.
    #[error(
        "batch norm in training saw one value per channel (batch 1, one position), expected more than 1\n  \
         hint: use a larger batch or a larger input; the last batch of an epoch may have to be dropped"
    )]
    OneValuePerChannel,
    /// The element count overflows.
    #[error("{what} has more elements than this machine can count")]
    TooLarge {
        /// Which tensor.
        what: &'static str,
    },
}
