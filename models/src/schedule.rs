//! The schedule of a pass: which nodes are needed, which run as one operation, and when a value is
//! read for the last time. It depends on the graph alone, so that whoever executes one (trainer,
//! engine) schedules alike.

use crate::graph::{Graph, Node, NodeId};
use crate::op::{Activation, Op};

/// Nodes that run together. The first, `node`, gives operation and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledOp {
    /// The operation.
    pub node: NodeId,
    /// Whose value it makes: `node` itself, or the addition or activation at the end of its group.
    pub output: NodeId,
    /// Read and added before the activation; only behind an operation that [`Fuse`] names.
    pub residual: Option<NodeId>,
    /// Applied at the end; only behind an operation that [`Fuse`] names.
    pub activation: Option<Activation>,
    /// Values that nothing reads after it.
    pub frees: Vec<NodeId>,
}

impl ScheduledOp {
    /// What it reads: the inputs of its operation, then the residual.
    pub fn inputs<'a>(&self, graph: &'a Graph) -> impl Iterator<Item = NodeId> + use<'a> {
        graph.node(self.node).inputs.iter().copied().chain(self.residual)
    }
}

/// Which operations take in the addition and the activation behind them. An activation is taken in
/// only where it is a clamp ([`Activation::clamp`]): what went in cannot be told from what came out
/// of any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fuse {
    /// Batch norms, whose gradients know of both.
    Norms,
    /// Convolutions too: nobody goes back from here.
    NormsAndConvolutions,
}

/// The operations of a pass in execution order, and what it hands out at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    ops: Vec<ScheduledOp>,
    /// The output and the taps; never freed.
    kept: Vec<NodeId>,
}

impl Schedule {
    /// Schedules a pass that ends in the graph's output and in `taps`.
    ///
    /// An operation that `fuse` names runs together with the addition and the activation behind it
    /// when nobody else reads the values between them. It runs where its last node stands, so that
    /// the other term of the sum is there.
    pub fn new(graph: &Graph, taps: &[NodeId], fuse: Fuse) -> Self {
        let kept: Vec<NodeId> = taps.iter().copied().chain([graph.output()]).collect();
        let needed = needed(graph, &kept);
        let only_reader = only_readers(graph, &kept, &needed);

        let mut taken = vec![false; graph.nodes().len()];
        let mut ops = Vec::new();
        for (id, node) in graph.iter().filter(|(id, _)| needed[id.index()]) {
            if taken[id.index()] || matches!(node.op, Op::Input(_)) {
                continue;
            }
            let mut op = ScheduledOp { node: id, output: id, residual: None, activation: None, frees: Vec::new() };
            let is_norm = matches!(node.op, Op::BatchNorm2d(_));
            if is_norm || (fuse == Fuse::NormsAndConvolutions && matches!(node.op, Op::Conv2d(_))) {
                extend(&mut op, graph, &only_reader, &mut taken);
            }
            ops.push(op);
        }
        ops.sort_by_key(|op| op.output);
        let mut schedule = Self { ops, kept };
        schedule.find_last_uses(graph);
        schedule
    }

    /// The operations in execution order.
    pub fn ops(&self) -> &[ScheduledOp] {
        &self.ops
    }

    /// Whether the value of `node` is handed out or read by an operation, hence can receive a
    /// gradient.
    pub fn makes(&self, node: NodeId) -> bool {
        self.ops.iter().any(|op| op.output == node)
    }

    fn find_last_uses(&mut self, graph: &Graph) {
        let mut read_later: Vec<bool> = vec![false; graph.nodes().len()];
        for id in &self.kept {
            read_later[id.index()] = true;
        }
        for op in self.ops.iter_mut().rev() {
            for id in op.inputs(graph) {
                if !std::mem::replace(&mut read_later[id.index()], true) {
                    op.frees.push(id);
                }
            }
        }
    }
}

/// Marks what the kept values depend on.
fn needed(graph: &Graph, kept: &[NodeId]) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    for id in kept {
        needed[id.index()] = true;
    }
    for (id, node) in graph.iter().rev() {
        if needed[id.index()] {
            for input in &node.inputs {
                needed[input.index()] = true;
            }
        }
    }
    needed
}

/// For each node, the one needed node that reads it, if there is exactly one and the value is not
/// handed out.
fn only_readers(graph: &Graph, kept: &[NodeId], needed: &[bool]) -> Vec<Option<NodeId>> {
    let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); graph.nodes().len()];
    for (id, node) in graph.iter().filter(|(id, _)| needed[id.index()]) {
        for input in &node.inputs {
            readers[input.index()].push(id);
        }
    }
    let only = |(i, readers): (usize, Vec<NodeId>)| match readers.as_slice() {
        [one] if kept.iter().all(|id| id.index() != i) => Some(*one),
        _ => None,
    };
    readers.into_iter().enumerate().map(only).collect()
}

/// Whether all inputs of a sum have its shape: kernels add nothing else on the way.
fn is_even(graph: &Graph, node: &Node) -> bool {
    node.inputs.iter().all(|input| graph.node(*input).shape == node.shape)
}

/// Lets an operation take in the addition and the activation behind it.
fn extend(op: &mut ScheduledOp, graph: &Graph, only_reader: &[Option<NodeId>], taken: &mut [bool]) {
    while let Some(reader) = only_reader[op.output.index()] {
        let node = graph.node(reader);
        match node.op {
            Op::Add(_) if op.residual.is_none() && !taken[reader.index()] && is_even(graph, node) => {
                op.residual = node.inputs.iter().copied().find(|input| *input != op.output);
            }
            Op::Activation(activation) if activation.clamp().is_some() => op.activation = Some(activation),
            _ => return,
        }
        taken[reader.index()] = true;
        op.output = reader;
        if op.activation.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphBuilder;
    use crate::op::{Add, BatchNorm2d, Conv2d, GlobalAvgPool, Linear};

    /// conv1 bn1 relu1 | conv2 bn2 + (down.0 down.1) relu2 | avgpool fc
    fn block() -> Graph {
        let conv = || Op::Conv2d(Conv2d::square(4, 4, 3, 1, 1));
        let norm = || Op::BatchNorm2d(BatchNorm2d { channels: 4, eps: 1e-5, momentum: 0.1 });
        let (mut b, x) = GraphBuilder::new("block", [4, 8, 8]).unwrap();
        let mut at = b.add("conv1", conv(), &[x]).unwrap();
        at = b.add("bn1", norm(), &[at]).unwrap();
        let stem = b.add("relu1", Op::Activation(Activation::Relu), &[at]).unwrap();
        at = b.add("conv2", conv(), &[stem]).unwrap();
        let bn2 = b.add("bn2", norm(), &[at]).unwrap();
        at = b.add("down.0", conv(), &[stem]).unwrap();
        at = b.add("down.1", norm(), &[at]).unwrap();
        at = b.add("add", Op::Add(Add {}), &[bn2, at]).unwrap();
        at = b.add("relu2", Op::Activation(Activation::Relu), &[at]).unwrap();
        at = b.add("avgpool", Op::GlobalAvgPool(GlobalAvgPool {}), &[at]).unwrap();
        at = b
            .add("fc", Op::Linear(Linear { in_features: 4, out_features: 3, bias: true, quantized: false }), &[at])
            .unwrap();
        b.finish(at)
    }

    fn scheduled(graph: &Graph, taps: &[&str]) -> Vec<String> {
        fused(graph, taps, Fuse::Norms)
    }

    fn fused(graph: &Graph, taps: &[&str], fuse: Fuse) -> Vec<String> {
        let taps: Vec<NodeId> = taps.iter().map(|name| graph.tap(name).unwrap()).collect();
        let name = |id: NodeId| graph.node(id).name.clone();
        let describe = |op: &ScheduledOp| {
            let group = if op.node == op.output { String::new() } else { format!("..{}", name(op.output)) };
            let residual = op.residual.map(|id| format!(" + {}", name(id))).unwrap_or_default();
            let frees: Vec<String> = op.frees.iter().map(|id| name(*id)).collect();
            format!("{}{group}{residual} frees {}", name(op.node), frees.join(","))
        };
        Schedule::new(graph, &taps, fuse).ops().iter().map(describe).collect()
    }

    #[test]
    fn batch_norms_take_in_additions_and_activations_and_values_are_freed_at_their_last_use() {
        let expected = [
            "conv1 frees input",
            "bn1..relu1 frees conv1",
            "conv2 frees ",
            "down.0 frees relu1",
            "down.1 frees down.0",
            "bn2..relu2 + down.1 frees conv2,down.1",
            "avgpool frees relu2",
            "fc frees avgpool",
        ];
        assert_eq!(scheduled(&block(), &[]), expected);
    }

    #[test]
    fn convolutions_without_norms_take_in_what_follows_when_nobody_goes_back() {
        let conv = || Op::Conv2d(Conv2d::square(4, 4, 3, 1, 1));
        let (mut b, x) = GraphBuilder::new("folded", [4, 8, 8]).unwrap();
        let at = b.add("conv1", conv(), &[x]).unwrap();
        let stem = b.add("relu1", Op::Activation(Activation::Relu), &[at]).unwrap();
        let at = b.add("conv2", conv(), &[stem]).unwrap();
        let at = b.add("add", Op::Add(Add {}), &[at, stem]).unwrap();
        let at = b.add("relu2", Op::Activation(Activation::Relu6), &[at]).unwrap();
        let graph = b.finish(at);
        let expected = ["conv1..relu1 frees input", "conv2..relu2 + relu1 frees relu1"];
        assert_eq!(fused(&graph, &[], Fuse::NormsAndConvolutions), expected);
        assert_eq!(scheduled(&graph, &[]).len(), 5);
    }

    #[test]
    fn a_tap_inside_a_group_splits_it_and_is_kept() {
        let steps = scheduled(&block(), &["bn2", "relu1"]);
        assert!(steps.contains(&"bn2 frees conv2".to_owned()), "{steps:?}");
        assert!(steps.contains(&"down.1..relu2 + bn2 frees down.0".to_owned()), "{steps:?}");
        assert!(!steps.iter().any(|step| step.ends_with("relu1")), "{steps:?}");
    }

    #[test]
    fn what_nobody_asks_for_does_not_run() {
        let (mut b, x) = GraphBuilder::new("two heads", [4, 8, 8]).unwrap();
        let relu = b.add("relu", Op::Activation(Activation::Relu), &[x]).unwrap();
        b.add("unused", Op::Activation(Activation::Relu6), &[relu]).unwrap();
        let graph = b.finish(relu);
        assert_eq!(scheduled(&graph, &[]), ["relu frees input"]);
        assert_eq!(scheduled(&graph, &["unused"]).len(), 2);
    }
}
