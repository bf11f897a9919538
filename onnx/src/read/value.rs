//! What the reader knows of a value of a file.

use std::rc::Rc;

use super::function::Expr;
use super::size::Size;
use super::tensor::Tensor;

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Numbers that do not depend on the images.
    Constant(Rc<Tensor>),
    /// Something that does.
    Live(Live),
    /// Positions in what all images make together, `[N, ...]`: how PyTorch's dynamo writes views that are none.
    Positions(Rc<Positions>),
    /// A station on the way to a layer norm that is written out.
    Moment(Rc<Moment>),
    /// Several values that an operation takes apart.
    Several(Vec<Value>),
    /// What an operation that is not understood made, here or further up.
    Unknown,
}

/// A value that depends on the images.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) expr: Rc<Expr>,
    /// Shape of a sample in the network: `[C, H, W]` or `[F]`, mostly.
    pub(super) shape: Vec<usize>,
    /// How the file's axes lie over the network's.
    pub(super) view: View,
}

/// How the axes of a file's value lie over those of the network's, `[N, C, H, W]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// As they are.
    Plain,
    /// Channels last, `[N, H, W, C]`.
    ChannelsLast,
    /// Channels in groups, `[N, groups, C / groups, H, W]`.
    Grouped(usize),
    /// Channels in groups that were exchanged, `[N, C / groups, groups, H, W]`.
    Shuffled(usize),
    /// The one channel's axis left out, `[N, H, W]`.
    NoChannel,
    /// All images behind each other, `[N * elements]`.
    Together,
    /// A row of features, `[N, H * W * C]`, that came of channels last: where the network has `[C, H, W]` in a row.
    RowsOfChannels {
        /// C.
        channels: usize,
    },
}

/// What is computed of a value's channels at each position.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) of: Live,
    pub(super) kind: MomentKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum MomentKind {
    Mean,
    /// The value less its mean.
    Centred,
    /// The square of that.
    Square,
    /// The mean of that, and what was added.
    Variance {
        eps: f32,
    },
    /// The root of that.
    Deviation {
        eps: f32,
    },
}

/// Positions `image * step + within`, of shape `[N, within.dims]`.
#[derive(Debug)]
pub(super) struct Positions {
    pub(super) step: i64,
    pub(super) within: Tensor,
}

impl Live {
    /// The shape of a sample as the file sees it.
    pub(super) fn seen(&self) -> Vec<usize> {
        match (self.view, &self.shape[..]) {
            (View::ChannelsLast, &[c, h, w]) => vec![h, w, c],
            (View::Grouped(groups), &[c, h, w]) => vec![groups, c / groups, h, w],
            (View::Shuffled(groups), &[c, h, w]) => vec![c / groups, groups, h, w],
            (View::NoChannel, [_, rest @ ..]) => rest.to_vec(),
            (_, shape) => shape.to_vec(),
        }
    }

    /// The axis of the channels as the file sees it, batch included.
    pub(super) fn channel_axis(&self) -> Option<usize> {
        match self.view {
            View::Plain => Some(1),
            View::ChannelsLast => Some(self.shape.len()),
            View::Grouped(_) | View::Shuffled(_) | View::NoChannel | View::Together | View::RowsOfChannels { .. } => {
                None
            }
        }
    }

    /// The sizes that `Shape` gives.
    pub(super) fn sizes(&self) -> Vec<Size> {
        let sample = self.seen();
        if self.view == View::Together {
            return vec![Size { n: sample.iter().product::<usize>() as i64, per_image: true }];
        }
        std::iter::once(Size::BATCH).chain(sample.iter().map(|&size| Size::of(size as i64))).collect()
    }

    /// Whether its numbers lie in one order, wherever the axis of the channels is.
    pub(super) fn axis_moves_nothing(&self) -> bool {
        matches!(self.shape[..], [c, h, w] if c == 1 || h * w == 1)
    }

    /// Height and width, where it is an image as the network has it.
    pub(super) fn image(&self) -> Result<[usize; 3], String> {
        match (self.view, &self.shape[..]) {
            (View::Plain, &[c, h, w]) => Ok([c, h, w]),
            _ => Err(format!("is given [N, {}], expected images [N, C, H, W]", join(&self.seen()))),
        }
    }

    /// `axis` of the file, counted from the front, batch included.
    pub(super) fn axis(&self, axis: i64) -> Result<usize, String> {
        let rank = self.seen().len() as i64 + 1;
        let counted = if axis < 0 { axis + rank } else { axis };
        match usize::try_from(counted).ok().filter(|axis| (*axis as i64) < rank) {
            Some(axis) => Ok(axis),
            None => Err(format!("axis {axis} of [N, {}] is not there", join(&self.seen()))),
        }
    }
}

/// Sizes for people.
pub(super) fn join(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
