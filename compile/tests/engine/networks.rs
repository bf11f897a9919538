//! Random networks of all that the engine computes, in floats and quantised.

use std::collections::BTreeMap;

use attar_models::op::{
    Add, BatchNorm2d, ChannelShuffle, Concat, Conv2d, Dequantize, Dropout, Flatten, GlobalAvgPool, LayerNorm2d, Linear,
    Mul, PRelu, Pad2d, PadChannels, Pool2d, Quantize, Reshape, Scale, SliceChannels, Slope, Softmax, Subsample,
};
use attar_models::{Activation, Array, Graph, GraphBuilder, NodeId, Op, Weights};

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// From -1 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| 2.0 * self.unit()).collect()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// A network with weights.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) weights: Weights,
}

impl Network {
    /// Elements of its image.
    pub(crate) fn elements(&self) -> usize {
        self.graph.input_shape().iter().product()
    }
}

/// How a network computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// In floats.
    Floats,
    /// All of it quantised.
    Bytes,
    /// Some of it.
    Mixed,
    /// All of it but the answer.
    Logits,
}

/// A network of some ten operations; its image has 3 channels mostly.
pub(crate) fn network(seed: u64, how: How) -> Network {
    let mut random = Random(seed);
    let channels = if random.one_in(4) { random.within(1, 9) } else { 3 };
    let size = [channels, random.within(5, 15), random.within(5, 15)];
    let (builder, input) = GraphBuilder::new("random", size).unwrap();
    let mut maker =
        Maker { builder, weights: BTreeMap::new(), random, how, values: Vec::new(), levels: BTreeMap::new(), count: 0 };
    let input = maker.ended(input);
    maker.values.push(input);
    for _ in 0..maker.random.within(3, 9) {
        maker.operation();
    }
    maker.finish()
}

struct Maker {
    builder: GraphBuilder,
    weights: BTreeMap<String, Array>,
    random: Random,
    how: How,
    /// Images to go on with, the newest last.
    values: Vec<NodeId>,
    /// Scale and zero point of dequantised values, and whether their numbers are signed.
    levels: BTreeMap<NodeId, (f32, f32, bool)>,
    count: usize,
}

impl Maker {
    fn add(&mut self, op: Op, inputs: &[NodeId]) -> Option<NodeId> {
        self.count += 1;
        let (name, params) = (format!("node{}", self.count), op.params());
        let quantised =
            matches!(&op, Op::Conv2d(Conv2d { quantized: true, .. }) | Op::Linear(Linear { quantized: true, .. }));
        let id = self.builder.add(&name, op, inputs).ok()?;
        if quantised {
            self.integers(&name, params[0].shape.clone(), inputs[0]);
            return Some(id);
        }
        for param in params {
            let count: usize = param.shape.iter().product();
            let depth: usize = param.shape[1..].iter().product();
            let gain = (2.0 / depth as f32).sqrt();
            let values = (0..count).map(|_| match param.suffix {
                "running_var" => 1.5 + self.random.unit(),
                "weight" if param.shape.len() == 1 => 1.0 + 0.5 * self.random.unit(),
                "weight" => self.random.unit() * gain,
                _ => self.random.unit() * 0.3,
            });
            let values: Vec<f32> = values.collect();
            self.weights.insert(format!("{name}.{}", param.suffix), Array::new(param.shape, values).unwrap());
        }
        Some(id)
    }

    /// Weights of whole steps, a step for each output channel, and a bias of whole steps.
    fn integers(&mut self, name: &str, shape: Vec<usize>, input: NodeId) {
        let (scale, ..) = self.levels[&input];
        let (channels, depth) = (shape[0], shape[1..].iter().product::<usize>());
        // Input bytes are about 70 from their zero point, weights 74: the answers are then about 1.2.
        let usual = 1.2 / (70.0 * 74.0) / (scale * (depth as f32).sqrt());
        let scales: Vec<f32> = (0..channels).map(|_| usual * (1.0 + 0.5 * self.random.unit())).collect();
        let extreme = self.random.one_in(8);
        let mut step = |_| {
            let step = self.random.within(0, 255) as i32 - 128;
            (if extreme { if step < 0 { -128 } else { 127 } } else { step }) as f32
        };
        let steps: Vec<f32> = (0..channels * depth).map(&mut step).collect();
        let weights = steps.iter().enumerate().map(|(at, step)| step * scales[at / depth]).collect();
        let bias = scales.iter().map(|weight| {
            let steps = self.random.within(0, 20_000) as f64 - 10_000.0;
            (steps * f64::from(scale) * f64::from(*weight)) as f32
        });
        let bias = bias.collect();
        self.keep(name, "weight", shape, weights);
        self.keep(name, "bias", vec![channels], bias);
        self.keep(name, "weight_scale", vec![channels], scales);
    }

    fn keep(&mut self, name: &str, suffix: &str, shape: Vec<usize>, values: Vec<f32>) {
        self.weights.insert(format!("{name}.{suffix}"), Array::new(shape, values).unwrap());
    }

    /// The newest image, mostly.
    fn value(&mut self) -> NodeId {
        let at = if self.random.one_in(4) { self.random.below(self.values.len()) } else { self.values.len() - 1 };
        self.values[at]
    }

    fn shape(&self, id: NodeId) -> [usize; 3] {
        self.builder.shape(id).try_into().unwrap()
    }

    fn quantised(&mut self) -> bool {
        match self.how {
            How::Floats => false,
            How::Bytes | How::Logits => true,
            How::Mixed => !self.random.one_in(3),
        }
    }

    /// Perhaps an activation, then, where the network is quantised, a quantiser of random levels.
    fn ended(&mut self, id: NodeId) -> NodeId {
        let levels = (0.03 * (1.0 + 0.6 * self.random.unit()), self.random.within(90, 160) as f32, false);
        let signed = self.random.one_in(2);
        let levels = if signed { (levels.0, levels.1 - 128.0, true) } else { levels };
        self.ended_at(id, levels)
    }

    fn ended_at(&mut self, mut id: NodeId, levels: (f32, f32, bool)) -> NodeId {
        if !self.quantised() {
            return id;
        }
        let least = levels.1.max(0.0) as usize + 1;
        let high = self.random.one_in(4).then(|| self.random.within(least, if levels.2 { 126 } else { 254 }) as u8);
        for op in [Op::Quantize(Quantize { signed: levels.2, high }), Op::Dequantize(Dequantize {})] {
            id = self.add(op, &[id]).unwrap();
            let name = format!("node{}", self.count);
            self.keep(&name, "scale", vec![1], vec![levels.0]);
            self.keep(&name, "zero_point", vec![1], vec![levels.1]);
        }
        self.levels.insert(id, levels);
        id
    }

    fn activated(&mut self, id: NodeId) -> NodeId {
        let leaky = Activation::LeakyRelu(Slope::new(0.1).unwrap());
        let choices = [
            Activation::Relu,
            Activation::Relu,
            Activation::Relu6,
            Activation::HardSwish,
            Activation::HardSigmoid,
            Activation::Sigmoid,
            Activation::Silu,
            Activation::Gelu,
            Activation::GeluTanh,
            leaky,
        ];
        let activation = self.random.of(&choices);
        // Only clamps leave no floats between a layer and its quantiser.
        let clamp = matches!(activation, Activation::Relu | Activation::Relu6);
        let id = if matches!(self.how, How::Bytes | How::Logits) && !clamp { self.ended(id) } else { id };
        self.add(Op::Activation(activation), &[id]).unwrap()
    }

    fn convolution(&mut self, input: NodeId, same: bool) -> Option<NodeId> {
        let [channels, height, width] = self.shape(input);
        let mut conv = Conv2d::square(channels, self.random.within(1, 40), 3, 1, 1);
        conv.bias = true;
        match self.random.below(4) {
            0 => (conv.groups, conv.out_channels) = (channels, channels),
            1 => {
                conv.groups = (2..=channels).find(|groups| channels.is_multiple_of(*groups)).unwrap_or(1);
                conv.out_channels = conv.groups * self.random.within(1, 9);
            }
            _ => {}
        }
        if same {
            conv.out_channels = channels;
            if self.random.one_in(3) {
                (conv.kernel, conv.padding) = ([1, 1], [0, 0]);
            }
        } else {
            conv.kernel = [0, 1].map(|_| self.random.of(&[1, 1, 2, 3, 3, 3, 5]));
            conv.stride = [0, 1].map(|_| self.random.of(&[1, 1, 1, 2, 3]));
            conv.dilation = [0, 1].map(|_| self.random.of(&[1, 1, 1, 2]));
            conv.padding = conv.kernel.map(|kernel| self.random.within(0, kernel - 1));
        }
        let reach = |axis: usize| (conv.kernel[axis] - 1) * conv.dilation[axis] + 1;
        if reach(0) > height + 2 * conv.padding[0] || reach(1) > width + 2 * conv.padding[1] {
            return None;
        }
        conv.quantized = self.levels.contains_key(&input);
        let made = self.add(Op::Conv2d(conv), &[input])?;
        let made = match self.how {
            How::Floats if self.random.one_in(3) => {
                let channels = self.shape(made)[0];
                self.add(Op::BatchNorm2d(BatchNorm2d::new(channels)), &[made])?
            }
            _ => made,
        };
        let made = if self.random.one_in(2) { self.activated(made) } else { made };
        Some(self.ended(made))
    }

    /// A row of an image's features.
    fn flat(&mut self, image: NodeId) -> Option<NodeId> {
        let row = self.add(Op::Flatten(Flatten {}), &[image])?;
        self.levels.get(&image).copied().map(|levels| self.levels.insert(row, levels));
        Some(row)
    }

    /// What moves numbers, which keep their levels.
    fn moved(&mut self, input: NodeId, op: Op) -> Option<NodeId> {
        let made = self.add(op, &[input])?;
        Some(self.levels.get(&input).copied().map_or(made, |levels| self.ended_at(made, levels)))
    }

    fn operation(&mut self) {
        let input = self.value();
        if let Some(made) = self.made(input) {
            self.values.push(made);
        }
    }

    fn made(&mut self, input: NodeId) -> Option<NodeId> {
        let [channels, height, width] = self.shape(input);
        let one = |maker: &mut Self, op: Op| {
            let made = maker.add(op, &[input])?;
            // Numbers that are moved keep their levels, or do not.
            match maker.levels.get(&input).copied() {
                Some(levels) if maker.random.one_in(2) => Some(maker.ended_at(made, levels)),
                _ => Some(maker.ended(made)),
            }
        };
        match self.random.below(22) {
            // Computed in floats, and as integers are wanted.
            17 | 18 | 21 if matches!(self.how, How::Bytes | How::Logits) => None,
            0..=3 => self.convolution(input, false),
            4 | 5 => {
                let branch = self.convolution(input, true)?;
                let branch = if self.random.one_in(2) { self.convolution(branch, true)? } else { branch };
                let pair = if self.random.one_in(2) { [input, branch] } else { [branch, input] };
                let sum = self.add(Op::Add(Add {}), &pair)?;
                let sum = if self.random.one_in(2) { self.activated(sum) } else { sum };
                Some(self.ended(sum))
            }
            6 => {
                let squeezed = self.add(Op::AvgPool2d(Pool2d::new([height, width], [1, 1], [0, 0])), &[input])?;
                let squeezed = self.ended(squeezed);
                let mut gate = Conv2d::square(channels, channels, 1, 1, 0);
                (gate.bias, gate.quantized) = (true, self.levels.contains_key(&squeezed));
                let gate = self.add(Op::Conv2d(gate), &[squeezed])?;
                let gate = self.ended(gate);
                let gate = self.add(Op::Activation(Activation::HardSigmoid), &[gate])?;
                let gate = self.ended_at(gate, (1.0 / 256.0, 0.0, false));
                let product = self.add(Op::Mul(Mul {}), &[input, gate])?;
                Some(self.ended(product))
            }
            7 | 8 => {
                let kernel = [0, 1].map(|_| self.random.within(1, 3));
                let mut pool = Pool2d::new(kernel, [0, 1].map(|_| self.random.within(1, 3)), kernel.map(|k| k / 2));
                pool.ceil_mode = self.random.one_in(2);
                pool.count_include_pad = self.random.one_in(2);
                if self.random.one_in(3) {
                    pool.padding_end = Some(kernel.map(|kernel| self.random.within(0, kernel - 1)));
                }
                let op = if self.random.one_in(2) { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) };
                one(self, op)
            }
            9 => {
                let alike = |other: &NodeId| self.shape(*other)[1..] == [height, width];
                let others: Vec<NodeId> = self.values.iter().copied().filter(alike).collect();
                let other = self.random.of(&others);
                if self.shape(other)[0] + channels > 64 {
                    return None;
                }
                let joined = self.add(Op::Concat(Concat { inputs: 2 }), &[input, other])?;
                Some(self.ended(joined))
            }
            10 => {
                let start = self.random.below(channels);
                let end = self.random.within(start + 1, channels);
                one(self, Op::SliceChannels(SliceChannels { start, end }))
            }
            11 => {
                let groups = (2..=channels).find(|groups| channels.is_multiple_of(*groups))?;
                one(self, Op::ChannelShuffle(ChannelShuffle { groups }))
            }
            12 if height.min(width) > 4 => one(self, Op::Subsample(Subsample { stride: 2 })),
            13 => {
                let [before, after] = [0, 1].map(|_| self.random.below(5));
                one(self, Op::PadChannels(PadChannels { before, after }))
            }
            14 => {
                let [top, left, bottom, right] = [0, 1, 2, 3].map(|_| self.random.below(3));
                let padded = self.add(Op::Pad2d(Pad2d { top, left, bottom, right }), &[input])?;
                let levels = self.levels.get(&input).copied();
                let padded = levels.map_or(padded, |levels| self.ended_at(padded, levels));
                self.convolution(padded, false).or(Some(padded))
            }
            16 => {
                let slopes = if self.random.one_in(3) { 1 } else { channels };
                one(self, Op::PRelu(PRelu { channels: slopes }))
            }
            17 => one(self, Op::LayerNorm2d(LayerNorm2d { channels, eps: 1e-3 })),
            18 => {
                let shares = self.add(Op::Softmax(Softmax {}), &[input])?;
                Some(self.ended_at(shares, (1.0 / 256.0, 0.0, false)))
            }
            19 => {
                let from = if self.random.one_in(2) { self.flat(input)? } else { input };
                let shape = self.random.of(&[[height, width, channels], [width, channels, height]]);
                self.moved(from, Op::Reshape(Reshape { shape: shape.to_vec() }))
            }
            20 => {
                // The second operand has 1 along some axes.
                let kernel = self.random.of(&[[height, width], [1, width], [height, 1]]);
                let part = self.add(Op::AvgPool2d(Pool2d::new(kernel, [1, 1], [0, 0])), &[input])?;
                let part = self.ended(part);
                let part = match self.random.one_in(2) {
                    true => self.moved(part, Op::SliceChannels(SliceChannels { start: 0, end: 1 }))?,
                    false => part,
                };
                let op = if self.random.one_in(2) { Op::Add(Add {}) } else { Op::Mul(Mul {}) };
                let made = self.add(op, &[input, part])?;
                Some(self.ended(made))
            }
            21 => one(self, Op::Scale(Scale { channels, bias: true, trained: true })),
            15 => {
                // Another name of the same value; the old one may be read on.
                let made = self.add(Op::Dropout(Dropout { p: 0.5 }), &[input])?;
                self.levels.get(&input).copied().map(|levels| self.levels.insert(made, levels));
                Some(made)
            }
            _ => {
                let made = self.activated(input);
                Some(self.ended(made))
            }
        }
    }

    /// A row of features, perhaps after what counts features one by one.
    fn of_a_row(&mut self, row: NodeId) -> NodeId {
        let features = self.builder.shape(row)[0];
        let whole = matches!(self.how, How::Bytes | How::Logits);
        let op = match self.random.below(12) {
            0 | 1 if whole => return row,
            0 => Op::LayerNorm2d(LayerNorm2d { channels: features, eps: 1e-5 }),
            1 => Op::Scale(Scale { channels: features, bias: true, trained: false }),
            2 => Op::PRelu(PRelu { channels: features }),
            3 => {
                let joined = self.add(Op::Concat(Concat { inputs: 2 }), &[row, row]).unwrap();
                return self.ended(joined);
            }
            _ => return row,
        };
        let made = self.add(op, &[row]).unwrap();
        self.ended(made)
    }

    fn finish(mut self) -> Network {
        let last = self.values[self.values.len() - 1];
        let row = if self.random.one_in(2) {
            let row = self.add(Op::GlobalAvgPool(GlobalAvgPool {}), &[last]).unwrap();
            self.ended(row)
        } else {
            let row = self.flat(last).unwrap();
            self.of_a_row(row)
        };
        let features = self.builder.shape(row)[0];
        let flat = self.how != How::Floats && self.levels.contains_key(&row);
        let linear =
            Linear { in_features: features, out_features: self.random.within(2, 21), bias: true, quantized: flat };
        let linear = self.add(Op::Linear(linear), &[row]).unwrap();
        let output = match self.how {
            How::Logits if self.random.one_in(4) => self.add(Op::Activation(Activation::Relu), &[linear]).unwrap(),
            How::Logits => linear,
            How::Floats | How::Bytes | How::Mixed => self.ended(linear),
        };
        Network { graph: self.builder.finish(output), weights: Weights(self.weights) }
    }
}
