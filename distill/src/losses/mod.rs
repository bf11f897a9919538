//! What is minimised. The mathematics is plain functions of tensors; a [`Loss`] only holds settings.
//!
//! A new loss is one file in [`methods`] (its mathematics, its settings, its [`Entry`]), one line in the registry below, and one
//! PyTorch fixture.

mod catalog;
mod context;
mod given;
pub mod methods;
pub mod parts;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;

pub use attar_exec::params::{Init, Param};
pub use catalog::{Basis, Described, Entry, Setting, Teachers, described};
pub use context::BuildContext;
pub use given::{AnyLoss, GivenSpec};
pub use methods::*;
pub use parts::embedding::embed;
pub use parts::pairs::{Pairs, Rule};
pub use parts::softmax::log_softmax;
pub use parts::{contrast, differentiable, logits, maps};
pub use step::{Connector, Step, Tap, Taps, View};

/// One term of what is minimised.
pub trait Loss: fmt::Debug + Send {
    /// The nodes it reads; [`View`] hands their outputs over in this order.
    fn taps(&self) -> Taps {
        Taps::default()
    }

    /// How many teachers it reads; all that the recipe has where it reads some and nothing else is said. Of a kind of the
    /// catalogue its [`Entry`] says it.
    fn teachers(&self) -> Teachers {
        Teachers::None
    }

    /// How many views of a batch it reads.
    fn views(&self) -> RangeInclusive<usize> {
        1..=1
    }

    /// Whether it remembers training images by their numbers, so that a view that mixes images is none for it.
    fn remembers_images(&self) -> bool {
        false
    }

    /// Whether a number added to all of a teacher's logits would change it: such a loss cannot learn of probabilities or
    /// their logarithms, which are logits but for such a number.
    fn reads_raw_logits(&self) -> bool {
        false
    }

    /// What it trains itself.
    fn params(&self) -> Vec<Param> {
        Vec::new()
    }

    /// The unweighted loss, a scalar, reduced as its paper says. Gradients flow to the student's outputs and to its own
    /// parameters only.
    ///
    /// # Errors
    /// Outputs whose shapes are not those the loss was built for, or a device that failed.
    fn loss(&self, step: &Step<'_>) -> Result<Tensor>;

    /// Called once the step is taken: memory banks, averages.
    ///
    /// # Errors
    /// A device that failed.
    fn after(&mut self, _step: &Step<'_>) -> Result<()> {
        Ok(())
    }

    /// What [`Loss::after`] has gathered, by name (`f32`), for a checkpoint.
    ///
    /// # Errors
    /// A device that failed.
    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    /// Takes up a state again. A name or shape that the loss does not know is an error.
    ///
    /// # Errors
    /// A state of another loss.
    fn load(&mut self, state: BTreeMap<String, Tensor>) -> Result<()> {
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(candle_core::Error::Msg(format!("a loss without state was given `{name}`")).into()),
        }
    }
}

/// The settings of a kind of loss.
trait Spec {
    /// The kind, described for people.
    const ENTRY: Entry;

    /// Checks the settings against the networks and builds the loss.
    fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>>;

    /// The files that it reads, which a recipe may name relative to its own place.
    fn files(&mut self) -> Vec<&mut PathBuf> {
        Vec::new()
    }

    /// The settings that say something which the others leave unread, each with why.
    fn idle(&self) -> Vec<Idle> {
        Vec::new()
    }
}

/// A setting that is written and not read, and why.
pub(crate) type Idle = (&'static str, &'static str);

/// Those of some settings that were changed from their defaults.
fn changed<const N: usize>(settings: [(&'static str, bool); N], why: &'static str) -> Vec<Idle> {
    settings.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| (name, why)).collect()
}

/// Makes the enum of all kinds of loss and what depends on the list.
macro_rules! registry {
    ($($(#[$doc:meta])* $kind:ident($spec:ty),)*) => {
        /// A loss as a recipe writes it: `{ kind = "kd", temperature = 4.0 }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum LossSpec {
            $($(#[$doc])* $kind($spec),)*
            /// A loss of a program that trains with it; no recipe can build it.
            #[schemars(skip)]
            Given(given::GivenSpec),
        }

        $(impl From<$spec> for LossSpec {
            fn from(spec: $spec) -> Self {
                Self::$kind(spec)
            }
        })*

        $(impl From<$spec> for AnyLoss {
            fn from(spec: $spec) -> Self {
                Self::Spec(spec.into())
            }
        })*

        impl LossSpec {
            /// Checks the settings against the networks and builds the loss.
            ///
            /// # Errors
            /// [`Error::Recipe`](crate::Error::Recipe) naming `losses.<name>.loss.<setting>`: a value out of range, an
            /// unknown tap, stages or channels that do not pair, class counts that differ, a missing teacher.
            pub fn build(&self, context: &BuildContext<'_>) -> Result<Box<dyn Loss>> {
                context.check(self.entry())?;
                match self {
                    $(Self::$kind(spec) => spec.build(context),)*
                    Self::Given(spec) => spec.build(context),
                }
            }

            /// The same loss, its weights of classes settled for the data that it learns from: names and training images of
            /// the classes, and whether its view mixes images.
            pub(crate) fn weighted(
                &self,
                context: &BuildContext<'_>,
                classes: &[String],
                counts: &[usize],
                mixes: bool,
            ) -> Result<Self> {
                match self {
                    Self::CrossEntropy(spec) => spec.weighted(context, classes, counts, mixes).map(Self::CrossEntropy),
                    other => Ok(other.clone()),
                }
            }

            /// The kind, described for people.
            pub fn entry(&self) -> &'static Entry {
                match self {
                    $(Self::$kind(_) => &<$spec as Spec>::ENTRY,)*
                    Self::Given(_) => &<given::GivenSpec as Spec>::ENTRY,
                }
            }

            /// The settings that are written and not read.
            pub(crate) fn idle(&self) -> Vec<Idle> {
                match self {
                    $(Self::$kind(spec) => spec.idle(),)*
                    Self::Given(spec) => spec.idle(),
                }
            }

            /// The files that it reads.
            pub(crate) fn files(&mut self) -> Vec<&mut PathBuf> {
                match self {
                    $(Self::$kind(spec) => spec.files(),)*
                    Self::Given(spec) => spec.files(),
                }
            }
        }

        /// All kinds of loss.
        pub fn catalog() -> &'static [Entry] {
            const CATALOG: &[Entry] = &[$(<$spec as Spec>::ENTRY,)*];
            CATALOG
        }
    };
}

registry! {
    /// Against the labels; see [`cross_entropy`].
    CrossEntropy(cross_entropy::CrossEntropySpec),
    /// Against the teacher's softened probabilities, as they are or repaired where the teacher is wrong; see [`kd`].
    Kd(kd::KdSpec),
    /// KD with a temperature for each sample; see [`dtd`].
    Dtd(dtd::DtdSpec),
    /// KD with apart weights for the right class and for the others; see [`dkd`].
    Dkd(dkd::DkdSpec),
    /// The label as far as the teacher trusts it, and the other classes; see [`nkd`].
    Nkd(nkd::NkdSpec),
    /// KD that softens the teacher alone; see [`ttm`].
    Ttm(ttm::TtmSpec),
    /// Correlation with the teacher's probabilities; see [`dist`].
    Dist(dist::DistSpec),
    /// Earth moved from the student's probabilities to the teacher's; see [`wkd_l`].
    WkdL(wkd_l::WkdLSpec),
    /// Samples, batches and classes at several temperatures; see [`mlkd`].
    Mlkd(mlkd::MlkdSpec),
    /// Against the teacher's ranking of the classes, the label first; see [`pld`].
    Pld(pld::PldSpec),
    /// Against the labels and the student's own past; see [`ps_kd`].
    PsKd(ps_kd::PsKdSpec),
    /// Against a teacher made by hand of the label; see [`tf_kd`].
    TfKd(tf_kd::TfKdSpec),
    /// Against the mean of several teachers; see [`meal`].
    Meal(meal::MealSpec),
    /// Against the teacher's mean activation of each channel; see [`channel`].
    Channel(channel::ChannelSpec),
    /// A middle map, through a trained regressor, against the teacher's; see [`fitnets`].
    Fitnets(fitnets::FitnetsSpec),
    /// Against the teacher's attention maps; see [`at`].
    At(at::AtSpec),
    /// Against the teacher's similarities of samples; see [`sp`].
    Sp(sp::SpSpec),
    /// Against the teacher's distances and angles of samples; see [`rkd`].
    Rkd(rkd::RkdSpec),
    /// Against the teacher's neighbourhoods of samples; see [`pkt`].
    Pkt(pkt::PktSpec),
    /// Against the teacher's channel maps as a distribution; see [`nst`].
    Nst(nst::NstSpec),
    /// Telling the teacher's maps, with a variance a channel; see [`vid`].
    Vid(vid::VidSpec),
    /// Against mean and spread of the teacher's channels; see [`wkd_f`].
    WkdF(wkd_f::WkdFSpec),
    /// Against the teacher's stages, the student's fused from deep to shallow; see [`review`].
    #[serde(rename = "reviewkd")]
    ReviewKd(review::ReviewKdSpec),
    /// Against the teacher's embedding of each image, apart from those of others; see [`crd`].
    Crd(crd::CrdSpec),
    /// Against the maps of several teachers, each through a transform of its own; see [`feed`].
    Feed(feed::FeedSpec),
    /// Around a robust teacher's feature as anchor, against other images; see [`gacd`].
    Gacd(gacd::GacdSpec),
}
