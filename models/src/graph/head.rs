//! The head of a classifier, its last linear layer, whose rows are classes; and the network with a head for other classes.

use super::{Graph, GraphBuilder, Node, NodeId};
use crate::error::{Error, Result};
use crate::op::{Linear, Op};

impl Graph {
    /// The last linear layer, if there is one.
    pub fn head(&self) -> Option<NodeId> {
        self.iter().rev().find(|(_, node)| matches!(node.op, Op::Linear(_))).map(|(id, _)| id)
    }

    /// The same network giving `[classes]`: its head has that many rows, everything else is as it is.
    ///
    /// # Errors
    /// [`Error::Node`] for a network without a linear layer, for more classes than a layer can have, and where what follows the
    /// head does not hand on its number of features.
    pub fn with_classes(&self, classes: usize) -> Result<Self> {
        if self.output_shape() == [classes] {
            return Ok(self.clone());
        }
        let output = &self.node(self.output).name;
        let fail = |problem: String| Err(Error::Node { node: output.clone(), problem });
        let Some(head) = self.head() else {
            return fail(format!(
                "gives {:?}, and no linear layer decides how many classes that is",
                self.output_shape()
            ));
        };
        let mut builder = GraphBuilder::empty(self.name.clone());
        for (id, Node { name, op, inputs, .. }) in self.iter() {
            let op = match op {
                Op::Linear(linear) if id == head => Op::Linear(Linear { out_features: classes, ..*linear }),
                other => other.clone(),
            };
            builder.add(name.clone(), op, inputs)?;
        }
        builder.stages.clone_from(&self.stages);
        let changed = builder.finish(self.output);
        match changed.output_shape() == [classes] {
            true => Ok(changed),
            false => fail(format!("gives {:?} with a head of {classes} classes", changed.output_shape())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Activation, GlobalAvgPool};
    use crate::zoo::{NetworkSpec, build, catalog};

    #[test]
    fn a_network_of_the_zoo_with_other_classes_is_the_one_that_the_zoo_builds() {
        for entry in catalog() {
            let of = |classes| build(&NetworkSpec { classes, ..entry.spec() }).unwrap();
            assert_eq!(of(7).with_classes(11).unwrap(), of(11), "{}", entry.name);
            assert_eq!(of(7).with_classes(7).unwrap(), of(7), "{}", entry.name);
        }
    }

    #[test]
    fn a_network_whose_classes_no_layer_decides_is_refused() {
        let (mut b, x) = GraphBuilder::new("bare", [3, 8, 8]).unwrap();
        let pool = b.add("pool", Op::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
        let relu = b.add("relu", Op::Activation(Activation::Relu), &[pool]).unwrap();
        let message = b.finish(relu).with_classes(5).unwrap_err().to_string();
        assert!(message.contains("node `relu`: gives [3], and no linear layer"), "{message}");
        let resnet = build(&NetworkSpec::new("resnet8", 3, [1, 12, 12])).unwrap();
        assert!(resnet.with_classes(usize::MAX).is_err());
    }
}
