//! The walk over a file's operations: what each value is, and the nodes of the network that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use attar_models::op::{Add, Mul, Reshape, Scale};
use attar_models::{Activation, Array, GraphBuilder, NodeId, Op, Weights};

use super::function::{Expr, Kind, Meaning};
use super::node::Node;
use super::size::Arithmetic;
use super::tensor::Tensor;
use super::value::{Live, Value, View};
use super::{Obstacle, ops};

/// What is known half-way through a file.
pub(super) struct Reader<'f> {
    values: BTreeMap<&'f str, Value>,
    pub(super) builder: GraphBuilder,
    pub(super) weights: Weights,
    made: Vec<NodeId>,
    /// The node of an expression that was needed before, by the name of its value.
    computed: BTreeMap<String, usize>,
    /// Who reads each value: positions of operations.
    readers: BTreeMap<&'f str, Vec<usize>>,
    nodes: Vec<Node<'f>>,
    /// Operations that an earlier one took in.
    taken: BTreeSet<usize>,
    pub(super) obstacles: Vec<Obstacle>,
    /// The batch size where the file fixes it.
    pub(super) fixed_batch: Option<i64>,
}

impl<'f> Reader<'f> {
    pub(super) fn new(builder: GraphBuilder, nodes: Vec<Node<'f>>, outputs: &[&'f str]) -> Self {
        // Constants first: who looks ahead to the operation behind it sees what that reads.
        let (constants, rest): (Vec<Node<'f>>, Vec<Node<'f>>) =
            nodes.into_iter().partition(|node| node.op() == "Constant");
        let nodes = [constants, rest].concat();
        let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            for input in &node.proto.input {
                readers.entry(input).or_default().push(at);
            }
        }
        for output in outputs {
            readers.entry(output).or_default().push(usize::MAX);
        }
        Self {
            values: BTreeMap::new(),
            builder,
            weights: Weights::default(),
            made: Vec::new(),
            computed: BTreeMap::new(),
            readers,
            nodes,
            taken: BTreeSet::new(),
            obstacles: Vec::new(),
            fixed_batch: None,
        }
    }

    /// Gives a name to the value of a node that the builder has.
    pub(super) fn input(&mut self, name: &'f str, id: NodeId, view: View) {
        let shape = self.builder.shape(id).to_vec();
        self.made.push(id);
        self.values.insert(name, Value::Live(Live { expr: Expr::node(name, self.made.len() - 1), shape, view }));
    }

    pub(super) fn constant(&mut self, name: &'f str, tensor: Tensor) {
        self.values.insert(name, Value::Constant(Rc::new(tensor)));
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Walks over all operations. What is not understood becomes an obstacle, and the walk goes on beside it.
    pub(super) fn walk(&mut self) {
        for at in 0..self.nodes.len() {
            if self.taken.contains(&at) {
                continue;
            }
            let node = self.nodes[at];
            let unknown = |name: &&String| matches!(self.values.get(name.as_str()), Some(Value::Unknown));
            let echo = node.proto.input.iter().any(|name| unknown(&name));
            let values = match echo {
                true => vec![Value::Unknown],
                false => ops::read(self, &node).unwrap_or_else(|problem| {
                    let name = node.proto.name.clone().filter(|name| !name.is_empty());
                    let name = name.unwrap_or_else(|| node.output().to_owned());
                    self.obstacles.push(Obstacle { node: name, op: node.op().to_owned(), problem });
                    vec![Value::Unknown]
                }),
            };
            let all_unknown = matches!(values[..], [Value::Unknown]);
            for (at, name) in node.proto.output.iter().enumerate() {
                // What an operation gives beside its first value and is not told of here nobody reads.
                let value = values.get(at).cloned().unwrap_or(Value::Unknown);
                self.values.insert(name, if all_unknown { Value::Unknown } else { value });
            }
        }
    }

    /// The live value of an input.
    pub(super) fn live(&self, node: &Node<'f>, at: usize) -> Result<Live, String> {
        match node.input(at).and_then(|name| self.values.get(name)) {
            Some(Value::Live(live)) => Ok(live.clone()),
            Some(Value::Constant(_)) => Err(format!("input {at} is a constant, expected something made of the images")),
            _ => Err(format!("input {at} is missing")),
        }
    }

    /// The constant that an input is; `None` where it is left out.
    pub(super) fn maybe_tensor(&self, node: &Node<'f>, at: usize) -> Result<Option<Rc<Tensor>>, String> {
        let Some(name) = node.input(at) else { return Ok(None) };
        match self.values.get(name) {
            Some(Value::Constant(tensor)) => Ok(Some(Rc::clone(tensor))),
            Some(_) => Err(format!("its input `{name}` is computed from the images, expected a constant")),
            None => Err(format!("its input `{name}` is made by nobody")),
        }
    }

    /// The constant that an input is.
    pub(super) fn tensor(&self, node: &Node<'f>, at: usize) -> Result<Rc<Tensor>, String> {
        self.maybe_tensor(node, at)?.ok_or_else(|| format!("input {at} is missing"))
    }

    /// Adds a node of the network, with its parameters by suffix, to what live values give it.
    pub(super) fn add(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[&Live],
        params: Vec<(&'static str, Array)>,
    ) -> Result<Live, String> {
        let inputs: Vec<usize> = inputs.iter().map(|live| self.node(&live.expr)).collect::<Result<_, _>>()?;
        self.add_node(name, op, &inputs, params)
    }

    /// An image as the network has it, for a `node` that slides windows over it. Where a new shape was taken for a move of the
    /// axis of channels, as exporters write one, it was a new shape after all.
    pub(super) fn image(&mut self, node: &Node<'f>, live: &Live) -> Result<Live, String> {
        if live.view == View::ChannelsLast && live.axis_moves_nothing() {
            let op = Op::Reshape(Reshape { shape: live.seen() });
            return self.add(&format!("{}.image", node.output()), op, &[live], Vec::new());
        }
        live.image().map(|_| live.clone())
    }

    fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[usize],
        params: Vec<(&'static str, Array)>,
    ) -> Result<Live, String> {
        let ids: Vec<NodeId> = inputs.iter().map(|node| self.made[*node]).collect();
        let id = self.builder.add(name, op, &ids).map_err(|error| match error {
            attar_models::Error::Node { problem, .. } => problem,
            other => other.to_string(),
        })?;
        for (suffix, array) in params {
            self.weights.0.insert(format!("{name}.{suffix}"), array);
        }
        self.made.push(id);
        let shape = self.builder.shape(id).to_vec();
        Ok(Live { expr: Expr::node(name, self.made.len() - 1), shape, view: View::Plain })
    }

    /// The id of a live value's node in the builder.
    pub(super) fn id(&mut self, live: &Live) -> Result<NodeId, String> {
        self.node(&live.expr).map(|node| self.made[node])
    }

    /// The node that computes an expression, made now if need be.
    fn node(&mut self, expr: &Rc<Expr>) -> Result<usize, String> {
        if let Kind::Node(node) = expr.kind {
            return Ok(node);
        }
        if let Some(node) = self.computed.get(&expr.name) {
            return Ok(*node);
        }
        let base = expr.base().ok_or("computes a constant from constants, which is not known here")?;
        let node = match expr.meaning() {
            Meaning::Identity => base,
            Meaning::Activation(activation) => self.activation(&expr.name, activation, base)?,
            Meaning::Affine { factor, offset } => self.affine(&expr.name, factor, offset, base)?,
            Meaning::Unknown => self.in_parts(expr)?,
        };
        self.computed.insert(expr.name.clone(), node);
        Ok(node)
    }

    fn activation(&mut self, name: &str, activation: Activation, input: usize) -> Result<usize, String> {
        self.add_node(name, Op::Activation(activation), &[input], Vec::new())?;
        Ok(self.made.len() - 1)
    }

    fn affine(&mut self, name: &str, factor: f32, offset: f32, input: usize) -> Result<usize, String> {
        let channels = self.builder.shape(self.made[input]).first().copied().unwrap_or(1);
        let filled = |value| Array::new(vec![channels], vec![value; channels]).map_err(|error| error.to_string());
        let op = Op::Scale(Scale { channels, bias: true, trained: false });
        self.add_node(name, op, &[input], vec![("weight", filled(factor)?), ("bias", filled(offset)?)])?;
        Ok(self.made.len() - 1)
    }

    /// An expression that is no function with a name, computed by what it is made of.
    fn in_parts(&mut self, expr: &Rc<Expr>) -> Result<usize, String> {
        let whole = || format!("computes a function of each number that no operation here is ({})", expr.name);
        let alone = |kind| Rc::new(Expr { name: expr.name.clone(), kind });
        let is_node = |expr: &Expr| matches!(expr.kind, Kind::Node(_));
        match &expr.kind {
            Kind::Unary(function, inner) if !is_node(inner) => {
                let inner = Expr::node("", self.node(inner)?);
                self.node(&alone(Kind::Unary(*function, inner)))
            }
            // From here on the two are values of their own, and no longer functions of one.
            Kind::Binary(op, a, b) if a.base().is_some() && b.base().is_some() => {
                let (a, b) = (self.node(a)?, self.node(b)?);
                match op {
                    Arithmetic::Add => self.pair(&expr.name, Op::Add(Add {}), a, b),
                    Arithmetic::Mul => self.pair(&expr.name, Op::Mul(Mul {}), a, b),
                    Arithmetic::Sub => {
                        let negative = self.affine(&format!("{}.negative", expr.name), -1.0, 0.0, b)?;
                        self.pair(&expr.name, Op::Add(Add {}), a, negative)
                    }
                    Arithmetic::Div => Err(whole()),
                }
            }
            Kind::Binary(op, a, b) if !is_node(a) && !is_node(b) => {
                let mut side = |side: &Rc<Expr>| match side.base() {
                    Some(_) => Ok::<_, String>(Expr::node("", self.node(side)?)),
                    None => Ok(Rc::clone(side)),
                };
                let (a, b) = (side(a)?, side(b)?);
                self.node(&alone(Kind::Binary(*op, a, b)))
            }
            _ => Err(whole()),
        }
    }

    fn pair(&mut self, name: &str, op: Op, a: usize, b: usize) -> Result<usize, String> {
        self.add_node(name, op, &[a, b], Vec::new())?;
        Ok(self.made.len() - 1)
    }

    /// The only operation that reads what `node` makes, if it is an `op` that was not taken in yet, and its position.
    pub(super) fn only_reader(&self, node: &Node<'f>, op: &str) -> Option<(usize, Node<'f>)> {
        match self.readers.get(node.output()).map(Vec::as_slice) {
            Some(&[at]) => self.nodes.get(at).filter(|reader| reader.op() == op).map(|reader| (at, *reader)),
            _ => None,
        }
    }

    /// Takes an operation in: what `value` is, it makes.
    pub(super) fn take(&mut self, at: usize, value: &Live) {
        self.taken.insert(at);
        if let Some(name) = self.nodes[at].proto.output.first() {
            self.values.insert(name, Value::Live(value.clone()));
        }
    }

    /// The constant that the other input of a taken-in `Add` or `Mul` is.
    pub(super) fn other_operand(&self, reader: &Node<'f>, known: &str) -> Option<Rc<Tensor>> {
        let other = reader.proto.input.iter().find(|name| *name != known)?;
        match self.values.get(other.as_str()) {
            Some(Value::Constant(tensor)) => Some(Rc::clone(tensor)),
            _ => None,
        }
    }
}
