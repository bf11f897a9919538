//! What `attar new` chooses by: the field's usual practice for a kind of network and of images, each number with its reason.

use attar_models::zoo::{self, Entry};

use super::images::Found;

/// Images up to this edge are small ones, as CIFAR's and Tiny ImageNet's are.
const SMALL: usize = 64;

/// Edge at which ImageNet's networks are trained.
const USUAL: usize = 224;

/// The network sees images in this size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Size {
    /// Height and width of the input.
    pub(super) input: [usize; 2],
    /// Whether the images are small: padded, cropped and seen by first layers that keep their size.
    pub(super) small: bool,
    /// The shorter edge before the centre crop; `None` where the images come in the right size.
    pub(super) resize: Option<usize>,
    pub(super) why: String,
}

impl Size {
    /// By what was asked for, else by the teacher's input, else by the images.
    pub(super) fn choose(asked: Option<usize>, teacher: Option<[usize; 2]>, network: &Entry, found: &Found) -> Self {
        let usual_is_small = network.input[1] <= SMALL;
        let (input, why) = match (asked, teacher, found.size) {
            (Some(asked), ..) => ([asked; 2], "as asked for (--size)".to_owned()),
            (_, Some(teacher), _) if fits(teacher, found) => (teacher, "as large as the teacher sees them".to_owned()),
            (.., Some(size)) if size.iter().all(|edge| *edge <= SMALL) => {
                (size, "as large as all of them are".to_owned())
            }
            _ if usual_is_small => {
                let edge = found.shorter_edge.clamp(1, network.input[1]);
                ([edge; 2], format!("as {} usually sees them", network.name))
            }
            _ => {
                let edge = (found.shorter_edge / 32 * 32).clamp(32, USUAL);
                let most =
                    if edge == USUAL { "ImageNet's" } else { "the largest multiple of 32 that half of them have" };
                ([edge; 2], format!("{most}; a smaller --size trains and answers faster"))
            }
        };
        let resize = (found.size != Some(input)).then(|| {
            let edge = input[0].max(input[1]);
            // A part of the picture is seen, 7/8 of it as with 224 of 256, but none is made larger for it.
            let larger = (edge * 8).div_ceil(7);
            larger.min(found.shorter_edge).max(edge)
        });
        Self { input, small: input.iter().all(|edge| *edge <= SMALL), resize, why }
    }

    /// Whether the network needs other first layers for small images, and has them.
    pub(super) fn wants_stem(&self, network: &Entry) -> bool {
        self.small && network.has("stem")
    }
}

/// Whether images are near enough to this size not to be blown up for it.
fn fits(size: [usize; 2], found: &Found) -> bool {
    size.iter().all(|edge| 2 * edge <= 3 * found.shorter_edge)
}

/// How long and how fast.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pace {
    pub(super) epochs: usize,
    pub(super) epochs_why: String,
    pub(super) batch: usize,
    pub(super) batch_why: &'static str,
    pub(super) rate: f64,
    pub(super) rate_why: &'static str,
    /// The rate rises for this share of the run.
    pub(super) warm_up: f64,
    pub(super) decay: f64,
    pub(super) nesterov: bool,
}

impl Pace {
    /// For `train` images, from random weights or from those of a network that is trained already.
    pub(super) fn choose(epochs: Option<usize>, train: usize, network: &Entry, size: &Size, fine_tuned: bool) -> Self {
        let is_mobile = network.name.starts_with("mobilenet");
        let (batch, batch_why) = match (train, size.small) {
            (..512, _) => (16, "few images: small batches make enough steps"),
            (..4000, _) => (32, "few images: small batches make enough steps"),
            (_, true) => (128, "usual for small images"),
            (200_000.., false) => (256, "as usual on ImageNet"),
            (_, false) => (64, "fits most memories; the learning rate goes with it"),
        };
        // Goyal et al. 2017: the rate is proportional to the batch.
        let (rate, of, rate_why) = match (fine_tuned, size.small, is_mobile) {
            (true, ..) => (0.01, 64.0, "a tenth of that from scratch: the weights know something already"),
            (_, true, true) => {
                (0.01, 64.0, "that of the distillation benchmarks for MobileNets, in proportion to the batch")
            }
            (_, true, false) => (0.05, 64.0, "that of the distillation benchmarks, in proportion to the batch"),
            (_, false, _) => (0.1, 256.0, "0.1 for a batch of 256, in proportion to the batch (Goyal et al. 2017)"),
        };
        let (usual, usual_why) = match (fine_tuned, size.small, train) {
            (true, ..) => (10, "fine-tuning is short"),
            (_, true, _) => (60, "a start; papers train small images for 200 or 240"),
            (_, _, 500_000..) => (100, "as usual on ImageNet"),
            _ => (60, "a start; twice as many are worth a try"),
        };
        Self {
            epochs: epochs.unwrap_or(usual),
            epochs_why: if epochs.is_some() { "as asked for (--epochs)" } else { usual_why }.to_owned(),
            batch,
            batch_why,
            rate: rate * batch as f64 / of,
            rate_why,
            warm_up: if size.small && !fine_tuned { 0.0 } else { 0.05 },
            decay: match (size.small && !fine_tuned, is_mobile) {
                (true, _) => 5e-4,
                (false, true) => 4e-5,
                (false, false) => 1e-4,
            },
            nesterov: true,
        }
    }

    /// Makes the batch smaller by a little where the last one of an epoch would hold a single image, of which a batch norm knows
    /// no deviation.
    pub(super) fn without_single_images(mut self, train: usize) -> Self {
        while self.batch > 2 && train % self.batch == 1 {
            self.batch -= 1;
            self.batch_why = "so that no batch of an epoch holds a single image";
        }
        self
    }
}

/// The least share of the picture that a random crop shows.
pub(super) fn least_shown(train: usize) -> (f64, &'static str) {
    match train {
        500_000.. => (0.08, "the usual 8 % or more of the picture"),
        _ => (
            0.25,
            "a quarter of the picture or more: with fewer images than ImageNet's a smaller part loses what it is of",
        ),
    }
}

/// The share held out, and why.
pub(super) fn validation(train: usize) -> (f64, &'static str) {
    match train {
        ..20 => (0.0, "too few images to hold any out, so nothing is chosen: the last epoch leaves"),
        200_000.. => (0.02, "some thousands tell epochs apart"),
        _ => (0.1, "the epoch that is exported is chosen by them; the test images are asked once, at the end"),
    }
}

/// The network of this name, if it is one of the zoo's.
pub(super) fn entry(name: &str) -> Option<Entry> {
    zoo::catalog().into_iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(size: Option<[usize; 2]>, shorter_edge: usize) -> Found {
        Found {
            train: 9000,
            test: 1000,
            classes: Vec::new(),
            looked_at: 1000,
            channels: 3,
            size,
            shorter_edge,
            edges: [shorter_edge, 2 * shorter_edge],
        }
    }

    fn choose(asked: Option<usize>, network: &str, found: &Found) -> Size {
        Size::choose(asked, None, &entry(network).unwrap(), found)
    }

    #[test]
    fn photos_are_cropped_and_small_images_stay_as_they_are() {
        let large = choose(None, "resnet18", &found(None, 500));
        assert_eq!((large.input, large.resize, large.small), ([224; 2], Some(256), false));
        let imagenette = choose(None, "mobilenet_v2", &found(None, 160));
        assert_eq!((imagenette.input, imagenette.resize), ([160; 2], Some(160)));
        assert_eq!(choose(Some(128), "mobilenet_v2", &found(None, 160)).resize, Some(147));
        let cifar = choose(None, "resnet18", &found(Some([32, 32]), 32));
        assert_eq!((cifar.input, cifar.resize, cifar.small), ([32; 2], None, true));
        assert!(cifar.wants_stem(&entry("resnet18").unwrap()) && !cifar.wants_stem(&entry("resnet20").unwrap()));
        // A CIFAR network sees photos as it sees CIFAR.
        let small = choose(None, "resnet20", &found(None, 500));
        assert_eq!((small.input, small.resize, small.small), ([32; 2], Some(37), true));
        let taught = Size::choose(None, Some([96, 96]), &entry("resnet18").unwrap(), &found(None, 500));
        assert_eq!((taught.input, taught.resize), ([96; 2], Some(110)));
        // Nobody blows small images up because the teacher does.
        let taught = Size::choose(None, Some([224, 224]), &entry("resnet18").unwrap(), &found(Some([32, 32]), 32));
        assert_eq!(taught.input, [32; 2]);
    }

    #[test]
    fn rates_are_in_proportion_to_the_batch() {
        let resnet = entry("resnet18").unwrap();
        let photos = choose(None, "resnet18", &found(None, 500));
        let pace = |train, tuned| Pace::choose(None, train, &resnet, &photos, tuned);
        assert_eq!((pace(9000, false).batch, pace(9000, false).rate), (64, 0.025));
        assert_eq!((pace(1_000_000, false).batch, pace(1_000_000, false).rate), (256, 0.1));
        assert_eq!((pace(9000, true).rate, pace(9000, true).epochs), (0.01, 10));
        assert_eq!(pace(300, false).without_single_images(300).batch, 16);
        assert_eq!(pace(300, false).without_single_images(16 * 15 + 1).batch, 14);
    }
}
