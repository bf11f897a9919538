//! A model from the bytes of an image to names: preprocessing in front of a network, the best classes behind it.

use std::collections::BTreeSet;

use attar_models::{Graph, Weights};
use attar_pixels::{Interpolation, Preprocessing, ResizeTo};
use prost::Message;

use super::{INPUT, OUTPUT, Options, float, int, ints, model, proto, string};
use crate::error::{Error, Result};
use crate::proto::{
    AttributeProto, Dimension, DimensionProto, FLOAT, GraphProto, INT64, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, UINT8, ValueInfoProto,
};

/// Name of the image that such a model takes.
pub const IMAGE: &str = "image";
/// Name of the probabilities that it gives, the largest first.
pub const PROBABILITIES: &str = "probabilities";
/// Name of the classes that they are of.
pub const CLASSES: &str = "classes";

/// The first operator set whose `Resize` has PIL's filters (`antialias`).
pub const RESIZE: i64 = 18;

/// Begins the names of what is put around the network.
const BEFORE: &str = "preprocessing";
const BEHIND: &str = "answer";

/// What stands around a network.
#[derive(Debug, Clone, PartialEq)]
pub struct EndToEnd<'a> {
    /// How pixels become the network's input.
    pub preprocessing: &'a Preprocessing,
    /// How many classes it gives, at least one; all where there are not as many.
    pub top: usize,
    /// Whether it gives the network's input as well, `input` `[1, C, H, W]`: to compare it with others.
    pub with_input: bool,
}

/// The bytes of an ONNX model with input [`IMAGE`], the pixels of one decoded image as `uint8` `[height, width, C]` (RGB, or
/// grey where the network takes one channel), and outputs [`PROBABILITIES`] `[k]` and [`CLASSES`] `[k]` (`int64`): the softmax
/// of the logits, sorted, and where in the labels each stands; of equal ones the first.
///
/// Height and width are free where the preprocessing resizes or crops; pixels are then those of
/// [`attar_pixels::preprocess_image`], as far as a runtime's `Resize` makes them.
///
/// # Errors
/// As [`super::write`]; an operator set before [`RESIZE`] where there is a resize; nodes with the names of inputs or outputs.
pub fn write_end_to_end(graph: &Graph, weights: &Weights, options: &Options, around: &EndToEnd<'_>) -> Result<Vec<u8>> {
    let how = around.preprocessing;
    how.check().map_err(|error| Error::Setting { setting: "preprocessing", problem: error.to_string() })?;
    if how.resize.is_some() && options.opset < RESIZE {
        let problem = format!("{} has no resize with PIL's filters, expected {RESIZE} or newer", options.opset);
        return Err(Error::Setting { setting: "opset", problem });
    }
    let mut whole = model(graph, weights, options)?;
    let inner = whole.graph.take().unwrap_or_default();
    check_free(&inner)?;
    let &[channels, height, width] = graph.input_shape() else {
        let problem = format!("is {:?}, expected [C, H, W]", graph.input_shape());
        return Err(Error::Setting { setting: "input", problem });
    };
    let classes: usize = graph.output_shape().iter().product();
    let top = around.top.clamp(1, classes.max(1));

    let mut parts = Parts::default();
    parts.preprocessing(how, [height, width]);
    parts.nodes.extend(inner.node);
    parts.answer(top);
    let fixed = how.resize.is_none() && how.crop.is_none();
    let mut output = vec![info(PROBABILITIES, FLOAT, &[Ok(top)]), info(CLASSES, INT64, &[Ok(top)])];
    output.extend(around.with_input.then(|| info(INPUT, FLOAT, &[Ok(1), Ok(channels), Ok(height), Ok(width)])));
    let size = if fixed { [Ok(height), Ok(width)] } else { [Err("height"), Err("width")] };
    whole.graph = Some(GraphProto {
        node: parts.nodes,
        initializer: [parts.constants, inner.initializer].concat(),
        input: vec![info(IMAGE, UINT8, &[size[0], size[1], Ok(channels)])],
        output,
        ..inner
    });
    Ok(whole.encode_to_vec())
}

/// What is put around a network has names of its own.
fn check_free(inner: &GraphProto) -> Result<()> {
    let own = |name: &str| {
        [IMAGE, PROBABILITIES, CLASSES].contains(&name)
            || [BEFORE, BEHIND].iter().any(|part| name.strip_prefix(part).is_some_and(|rest| rest.starts_with('/')))
    };
    let values: BTreeSet<&str> = inner.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    match values.into_iter().find(|name| own(name)) {
        None => Ok(()),
        Some(name) => {
            let problem = "has a name that stands for the image or the answer around the network".to_owned();
            Err(Error::Node { node: name.to_owned(), problem })
        }
    }
}

/// Nodes and constants that grow.
#[derive(Default)]
struct Parts {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Parts {
    /// From [`IMAGE`] to the network's input of this height and width.
    fn preprocessing(&mut self, how: &Preprocessing, [height, width]: [usize; 2]) {
        let name = |what: &str| format!("{BEFORE}/{what}");
        let planes = self.node("Transpose", &name("planes"), &[IMAGE], vec![ints("perm", [2, 0, 1])]);
        let front = self.numbers(&name("front"), &[0]);
        let mut pixels = self.node("Unsqueeze", &name("batch"), &[&planes, &front], Vec::new());
        let mut size = Extent::Image;
        if let Some(resize) = how.resize {
            let to = self.resized(resize.to);
            let rest = self.numbers(&name("resize/planes"), &[1, how.channels]);
            let sizes = self.node("Concat", &name("resize/sizes"), &[&rest, &to], vec![int("axis", 0)]);
            let filter = match resize.interpolation {
                Interpolation::Bilinear => vec![string("mode", "linear")],
                Interpolation::Bicubic => vec![string("mode", "cubic"), float("cubic_coeff_a", -0.5)],
            };
            // PIL leaves out what lies beyond the image, and lets the weights of the rest make up one.
            let pil = [
                int("antialias", 1),
                int("exclude_outside", 1),
                string("coordinate_transformation_mode", "half_pixel"),
            ];
            pixels = self.node("Resize", &name("resize"), &[&pixels, "", "", &sizes], [filter, pil.to_vec()].concat());
            size = Extent::Resized(to);
        }
        if how.crop.is_some() {
            // The edge that a resize makes the shorter one may leave nothing to be padded.
            let enough = match how.resize.map(|resize| resize.to) {
                Some(ResizeTo::ShorterEdge(edge)) => edge >= height.max(width),
                Some(ResizeTo::Exact([h, w])) => h >= height && w >= width,
                None => false,
            };
            pixels = self.cropped(&pixels, &size, [height, width], !enough);
        }
        let floats = self.node("Cast", &name("floats"), &[&pixels], vec![int("to", FLOAT as usize)]);
        let white = self.floats(&name("white"), &[], &[255.0]);
        let channel = [how.channels, 1, 1];
        let (mean, std) =
            (self.floats(&name("mean"), &channel, &how.mean), self.floats(&name("std"), &channel, &how.std));
        let scaled = self.node("Div", &name("scaled"), &[&floats, &white], Vec::new());
        let centred = self.node("Sub", &name("centred"), &[&scaled, &mean], Vec::new());
        self.node("Div", INPUT, &[&centred, &std], Vec::new());
    }

    /// Height and width after a resize, as a value of two whole numbers.
    fn resized(&mut self, to: ResizeTo) -> String {
        let name = |what: &str| format!("{BEFORE}/resize/{what}");
        match to {
            ResizeTo::Exact(size) => self.numbers(&name("to"), &size),
            // torchvision: edge * longer / shorter, rounded down; whole numbers are divided so.
            ResizeTo::ShorterEdge(edge) => {
                let size = self.image_size();
                let edge = self.numbers(&name("edge"), &[edge]);
                let shorter = self.node("ReduceMin", &name("shorter"), &[&size], vec![int("keepdims", 1)]);
                let product = self.node("Mul", &name("product"), &[&size, &edge], Vec::new());
                self.node("Div", &name("to"), &[&product, &shorter], Vec::new())
            }
        }
    }

    /// `[height, width]` of the image.
    fn image_size(&mut self) -> String {
        let name = |what: &str| format!("{BEFORE}/{what}");
        if self.nodes.iter().any(|node| node.output.iter().any(|output| *output == name("size"))) {
            return name("size");
        }
        let shape = self.node("Shape", &name("shape"), &[IMAGE], Vec::new());
        let (first, last) = (self.numbers(&name("first"), &[0]), self.numbers(&name("last"), &[2]));
        self.node("Slice", &name("size"), &[&shape, &first, &last], Vec::new())
    }

    /// torchvision's centre crop: an image that is smaller is padded with zeros first, the odd one at the end; then begins at
    /// (size - crop) / 2, rounded half to even.
    fn cropped(&mut self, pixels: &str, size: &Extent, crop: [usize; 2], may_pad: bool) -> String {
        let name = |what: &str| format!("{BEFORE}/crop/{what}");
        let mut size = match size {
            Extent::Image => self.image_size(),
            Extent::Resized(size) => size.clone(),
        };
        let crop = self.numbers(&name("to"), &crop);
        let mut pixels = pixels.to_owned();
        if may_pad {
            let (none, two) = (self.numbers(&name("none"), &[0, 0]), self.numbers(&name("two"), &[2]));
            let missing = self.node("Sub", &name("spare"), &[&crop, &size], Vec::new());
            let missing = self.node("Max", &name("missing"), &[&missing, &none], Vec::new());
            let before = self.node("Div", &name("before"), &[&missing, &two], Vec::new());
            let behind = self.node("Sub", &name("behind"), &[&missing, &before], Vec::new());
            let pads = self.node("Concat", &name("pads"), &[&none, &before, &none, &behind], vec![int("axis", 0)]);
            pixels = self.node("Pad", &name("padded"), &[&pixels, &pads], vec![string("mode", "constant")]);
            size = self.node("Add", &name("size"), &[&size, &missing], Vec::new());
        }
        let to = |kind: i32| vec![int("to", kind as usize)];
        let half = self.floats(&name("half"), &[], &[0.5]);
        let spare = self.node("Sub", &name("around"), &[&size, &crop], Vec::new());
        let spare = self.node("Cast", &name("around/floats"), &[&spare], to(FLOAT));
        let start = self.node("Mul", &name("around/half"), &[&spare, &half], Vec::new());
        let start = self.node("Round", &name("around/rounded"), &[&start], Vec::new());
        let start = self.node("Cast", &name("start"), &[&start], to(INT64));
        let end = self.node("Add", &name("end"), &[&start, &crop], Vec::new());
        let axes = self.numbers(&name("axes"), &[2, 3]);
        self.node("Slice", &format!("{BEFORE}/crop"), &[&pixels, &start, &end, &axes], Vec::new())
    }

    /// From the logits to the best classes. They are sorted by logits: probabilities of different ones can round to the same.
    fn answer(&mut self, top: usize) {
        let name = |what: &str| format!("{BEHIND}/{what}");
        let (k, front) = (self.numbers(&name("k"), &[top]), self.numbers(&name("front"), &[0]));
        let (best, places) = (name("logits"), name("places"));
        let sorted = vec![int("axis", 1), int("largest", 1), int("sorted", 1)];
        let mut found = proto(&best, "TopK", vec![OUTPUT.to_owned(), k], &best, sorted);
        found.output.push(places.clone());
        self.nodes.push(found);
        let all = self.node("Softmax", &name("softmax"), &[OUTPUT], vec![int("axis", 1)]);
        let row = self.node("GatherElements", &name("row"), &[&all, &places], vec![int("axis", 1)]);
        self.node("Squeeze", PROBABILITIES, &[&row, &front], Vec::new());
        self.node("Squeeze", CLASSES, &[&places, &front], Vec::new());
    }

    fn node(&mut self, op: &str, output: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        self.nodes.push(proto(output, op, inputs, output, attributes));
        output.to_owned()
    }

    /// A constant of whole numbers `[n]`.
    fn numbers(&mut self, name: &str, values: &[usize]) -> String {
        let bytes = values.iter().flat_map(|&value| (value as i64).to_le_bytes()).collect();
        self.constant(name, &[values.len()], INT64, bytes)
    }

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.constant(name, shape, FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: i32, bytes: Vec<u8>) -> String {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(kind),
            name: Some(name.to_owned()),
            raw_data: Some(bytes),
            ..TensorProto::default()
        });
        name.to_owned()
    }
}

/// Whose height and width an image has.
enum Extent {
    /// Those of [`IMAGE`].
    Image,
    /// Those of a value.
    Resized(String),
}

/// A value with sizes that are known, or have names.
fn info(name: &str, kind: i32, sizes: &[std::result::Result<usize, &str>]) -> ValueInfoProto {
    let size = |size: &std::result::Result<usize, &str>| match size {
        Ok(size) => Dimension::Value(*size as i64),
        Err(name) => Dimension::Param((*name).to_owned()),
    };
    let dim = sizes.iter().map(|at| DimensionProto { value: Some(size(at)) }).collect();
    let tensor_type = TensorTypeProto { elem_type: Some(kind), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
