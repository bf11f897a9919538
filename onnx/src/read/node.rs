//! One operation of a file: its attributes by name.

use crate::proto::{AttributeProto, NodeProto};

/// An operation with the version of its operator set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'f> {
    pub(super) proto: &'f NodeProto,
    pub(super) opset: i64,
}

impl<'f> Node<'f> {
    pub(super) fn op(&self) -> &'f str {
        self.proto.op_type.as_deref().unwrap_or_default()
    }

    /// The name of its first output, which names what it makes.
    pub(super) fn output(&self) -> &'f str {
        self.proto.output.first().map_or("", String::as_str)
    }

    /// The name of an input; `None` where it is left out.
    pub(super) fn input(&self, at: usize) -> Option<&'f str> {
        self.proto.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&'f AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name() == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(AttributeProto::i)
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(AttributeProto::f)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'f [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<&'f str> {
        self.attribute(name).and_then(|attribute| std::str::from_utf8(attribute.s()).ok())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'f crate::proto::TensorProto> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref())
    }

    pub(super) fn floats(&self, name: &str) -> Option<&'f [f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    /// A pair of sizes, `[height, width]`.
    pub(super) fn pair(&self, name: &str, default: usize) -> Result<[usize; 2], String> {
        let Some(ints) = self.ints(name) else { return Ok([default; 2]) };
        match ints {
            &[h, w] => usize::try_from(h).ok().zip(usize::try_from(w).ok()).map(|(h, w)| [h, w]),
            _ => None,
        }
        .ok_or_else(|| format!("{name} = {ints:?}, expected two sizes, of height and width"))
    }
}
