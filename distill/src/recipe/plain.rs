//! The recipe that unit tests begin with, up to its losses.

/// Plain training of a small network on data that is not there, without a loss: tests append tables of their own.
pub(crate) const PLAIN: &str = r#"
name = "plain"
[data]
source = { kind = "idx", root = "nowhere" }
validation = 0.1
preprocessing = { channels = 1, mean = [0.0], std = [1.0] }
[student]
network = { name = "resnet8" }
[train]
epochs = 2
batch = 6
learning_rate = 0.1
optimiser = { kind = "sgd" }
"#;
