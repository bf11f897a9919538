//! Faults that runtimes have had, or that are near at hand, as changes of the definition: a corpus that none of them fails would
//! prove nothing.

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Two products of bytes are added in 16 bits, as `vpmaddubsw` does on CPUs without VNNI.
    SaturatingPairs,
    /// A layer's sum wraps around at 32 bits.
    WrappingSums,
    /// The first scale of an axis is taken for all (tract 0.23.5).
    FirstScale,
    /// `x * (1 / scale)` in the place of `x / scale` (tract 0.23.9).
    Reciprocal,
    /// Ties are rounded away from zero.
    TiesAway,
    /// Fractions are cut off.
    CutOff,
    /// `round(x / scale + zero)` in the place of `round(x / scale) + zero`.
    RoundedOnce,
    /// The zero point is added to a whole number of 32 bits, which wraps around (tract 0.23.9).
    WrappingZero,
    /// Signed bytes end at -127.
    NarrowBytes,
    /// Signed bytes are read as unsigned ones.
    SignsLost,
    /// Activations have no zero point.
    NoZeroPoint,
    /// Around an image of bytes there are zeros, and not zero points.
    PaddedByZeros,
    /// Scales lie along axis 0 where the file does not say along which.
    AxisZeroByDefault,
    /// An axis that is counted from behind is taken for the first.
    AxisFromFront,
    /// Images are padded behind as they are before.
    EvenPads,
    /// `SAME_LOWER` is taken for `SAME_UPPER`.
    SameIsUpper,
    /// Pools round their sizes down, whatever the file says.
    CeilIgnored,
    /// Pools that round up keep windows that begin beyond the image.
    CeilBeyond,
    /// Means divide by the size of the window.
    PadsCounted,
    /// Means divide by what of the window lies within the image.
    PadsNotCounted,
    /// A maximum takes the padding for zeros.
    MaxOfZeros,
    /// Dilations are ignored.
    NotDilated,
    /// Settings that are floats (slopes, epsilons, factors) are ignored.
    DefaultsOnly,
    /// A setting that is not said is PyTorch's, and not ONNX's.
    OthersDefaults,
    /// A softmax over one axis in operator sets before 13, which meant all axes from it on.
    NewSoftmax,
    /// What is between the ends of a slice is taken one by one, whatever its step.
    StepsIgnored,
    /// The bounds of a clip are taken for 0 and 6.
    ClipIsRelu6,
    /// Of a batch the first image is computed, and its answer given for all.
    FirstImage,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::SaturatingPairs,
        Self::WrappingSums,
        Self::FirstScale,
        Self::Reciprocal,
        Self::TiesAway,
        Self::CutOff,
        Self::RoundedOnce,
        Self::WrappingZero,
        Self::NarrowBytes,
        Self::SignsLost,
        Self::NoZeroPoint,
        Self::PaddedByZeros,
        Self::AxisZeroByDefault,
        Self::AxisFromFront,
        Self::EvenPads,
        Self::SameIsUpper,
        Self::CeilIgnored,
        Self::CeilBeyond,
        Self::PadsCounted,
        Self::PadsNotCounted,
        Self::MaxOfZeros,
        Self::NotDilated,
        Self::DefaultsOnly,
        Self::OthersDefaults,
        Self::NewSoftmax,
        Self::StepsIgnored,
        Self::ClipIsRelu6,
        Self::FirstImage,
    ];

    /// What it does wrong, as a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::SaturatingPairs => "two products of bytes are added in 16 bits, as on x86 without VNNI",
            Self::WrappingSums => "a layer's sum wraps around at 32 bits",
            Self::FirstScale => "the first scale of an axis is taken for all",
            Self::Reciprocal => "`x * (1 / scale)` in the place of `x / scale`",
            Self::TiesAway => "ties are rounded away from zero",
            Self::CutOff => "fractions are cut off",
            Self::RoundedOnce => "`round(x / scale + zero)` in the place of `round(x / scale) + zero`",
            Self::WrappingZero => "the zero point is added to 32 bits, which wrap around",
            Self::NarrowBytes => "signed bytes end at -127",
            Self::SignsLost => "signed bytes are read as unsigned ones",
            Self::NoZeroPoint => "activations have no zero point",
            Self::PaddedByZeros => "around an image of bytes there are zeros, and not zero points",
            Self::AxisZeroByDefault => "scales lie along axis 0 where the file does not say along which",
            Self::AxisFromFront => "an axis that is counted from behind is taken for the first",
            Self::EvenPads => "images are padded behind as they are before",
            Self::SameIsUpper => "`SAME_LOWER` is taken for `SAME_UPPER`",
            Self::CeilIgnored => "pools round their sizes down, whatever the file says",
            Self::CeilBeyond => "pools that round up keep windows that begin beyond the image",
            Self::PadsCounted => "means divide by the size of the window",
            Self::PadsNotCounted => "means divide by what of the window lies within the image",
            Self::MaxOfZeros => "a maximum takes the padding for zeros",
            Self::NotDilated => "dilations are ignored",
            Self::DefaultsOnly => "settings that are floats are ignored",
            Self::OthersDefaults => "a setting that is not said is PyTorch's, and not ONNX's",
            Self::NewSoftmax => "a softmax of an operator set before 13 is over one axis",
            Self::StepsIgnored => "a slice takes all that is between its ends, whatever its step",
            Self::ClipIsRelu6 => "the bounds of a clip are taken for 0 and 6",
            Self::FirstImage => "of a batch the first image is computed, and its answer given for all",
        }
    }
}
